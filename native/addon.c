#include "addon.h"

#include <errno.h>
#include <string.h>

static int exception_pending(napi_env env) {
  bool pending = false;
  return napi_is_exception_pending(env, &pending) == napi_ok && pending;
}

void mw_throw_type(napi_env env, const char *message) {
  if (!exception_pending(env)) napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
}

/* The names that callers match on; any other number is reported as E<number>. */
static const struct {
  int number;
  const char *name;
} error_names[] = {
    {EPERM, "EPERM"}, {ENOENT, "ENOENT"}, {EINTR, "EINTR"}, {EIO, "EIO"}, {EBADF, "EBADF"}, {EAGAIN, "EAGAIN"},
    {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"}, {EFAULT, "EFAULT"}, {EBUSY, "EBUSY"}, {EEXIST, "EEXIST"}, {ENODEV, "ENODEV"},
    {EINVAL, "EINVAL"}, {EMFILE, "EMFILE"}, {ENFILE, "ENFILE"}, {ENOSPC, "ENOSPC"}, {EPIPE, "EPIPE"}, {ERANGE, "ERANGE"},
    {ENOTSOCK, "ENOTSOCK"}, {EMSGSIZE, "EMSGSIZE"}, {EPROTOTYPE, "EPROTOTYPE"}, {ENOPROTOOPT, "ENOPROTOOPT"},
    {EPROTONOSUPPORT, "EPROTONOSUPPORT"}, {ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"}, {EOPNOTSUPP, "EOPNOTSUPP"},
    {EAFNOSUPPORT, "EAFNOSUPPORT"}, {EADDRINUSE, "EADDRINUSE"}, {EADDRNOTAVAIL, "EADDRNOTAVAIL"}, {ENETDOWN, "ENETDOWN"},
    {ENETUNREACH, "ENETUNREACH"}, {ECONNABORTED, "ECONNABORTED"}, {ECONNRESET, "ECONNRESET"}, {ENOBUFS, "ENOBUFS"},
    {EISCONN, "EISCONN"}, {ENOTCONN, "ENOTCONN"}, {ETIMEDOUT, "ETIMEDOUT"}, {ECONNREFUSED, "ECONNREFUSED"},
    {EHOSTDOWN, "EHOSTDOWN"}, {EHOSTUNREACH, "EHOSTUNREACH"}, {EALREADY, "EALREADY"}, {EINPROGRESS, "EINPROGRESS"},
};

napi_value mw_throw_errno(napi_env env, const char *syscall, int error) {
  char number[24] = "E";
  const char *name = NULL;
  for (size_t index = 0; index < sizeof error_names / sizeof *error_names; index += 1)
    if (error_names[index].number == error) name = error_names[index].name;
  if (name == NULL) {
    char digits[20];
    size_t length = 0, at = 1;
    for (int rest = error; rest > 0 || length == 0; rest /= 10) digits[length++] = (char)('0' + rest % 10);
    while (length > 0) number[at++] = digits[--length];
    name = number;
  }
  char message[160];
  size_t used = 0;
  const char *parts[] = {syscall, " ", name, ": ", strerror(error)};
  for (size_t part = 0; part < sizeof parts / sizeof *parts; part += 1)
    for (const char *from = parts[part]; *from != '\0' && used < sizeof message - 1; from += 1) message[used++] = *from;

  napi_value code, text, object, call;
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) == napi_ok &&
      napi_create_string_utf8(env, message, used, &text) == napi_ok &&
      napi_create_error(env, code, text, &object) == napi_ok &&
      napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &call) == napi_ok) {
    mw_set_property(env, object, "errno", mw_number(env, -error));
    mw_set_property(env, object, "syscall", call);
    napi_throw(env, object);
  }
  return NULL;
}

int mw_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  size_t given = count;
  /* Missing ones arrive as undefined, which each reader refuses on its own terms. */
  return napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok;
}

int mw_is_undefined(napi_env env, napi_value value) {
  napi_valuetype type;
  return napi_typeof(env, value, &type) == napi_ok && type == napi_undefined;
}

napi_status mw_get_bytes(napi_env env, napi_value value, mw_bytes *out) {
  napi_typedarray_type type;
  void *data = NULL;
  napi_status status = napi_get_typedarray_info(env, value, &type, &out->length, &data, NULL, NULL);
  if (status != napi_ok) return status;
  if (type != napi_uint8_array) return napi_invalid_arg;
  out->data = data;
  return napi_ok;
}

napi_value mw_number(napi_env env, int64_t value) {
  napi_value result = NULL;
  napi_create_int64(env, value, &result);
  return result;
}

napi_value mw_copy_bytes(napi_env env, const void *data, size_t length) {
  napi_value result = NULL;
  napi_create_buffer_copy(env, length, data, NULL, &result);
  return result;
}

void mw_set_property(napi_env env, napi_value object, const char *name, napi_value value) {
  if (value != NULL) napi_set_named_property(env, object, name, value);
}

void mw_export(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function) == napi_ok)
    mw_set_property(env, exports, name, function);
}

/* Context aware: worker threads load their own instance, and nothing here is static and mutable. */
NAPI_MODULE_INIT() {
  mw_init_sockets(env, exports);
  mw_init_messages(env, exports);
  mw_init_poll(env, exports);
  return exports;
}
