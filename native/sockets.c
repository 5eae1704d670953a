/* Making sockets, their options, and the one call that moves a thread to another network namespace. */
#include "addon.h"

#include <errno.h>
#include <linux/filter.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* socket(domain, type, protocol) -> fd; always non-blocking and close-on-exec. */
static napi_value mw_socket(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int32_t domain, type, protocol;
  if (!mw_arguments(env, info, 3, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &domain));
  TRY(napi_get_value_int32(env, arguments[1], &type));
  TRY(napi_get_value_int32(env, arguments[2], &protocol));
  int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  return fd < 0 ? mw_throw_errno(env, "socket", errno) : mw_number(env, fd);
}

/* close(fd) */
static napi_value mw_close(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int32_t fd;
  if (!mw_arguments(env, info, 1, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  /* On Linux the descriptor is gone even after EINTR. */
  if (close(fd) < 0 && errno != EINTR) return mw_throw_errno(env, "close", errno);
  return NULL;
}

/* bind(fd, sockaddr) */
static napi_value mw_bind(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int32_t fd;
  mw_bytes address;
  if (!mw_arguments(env, info, 2, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(mw_get_bytes(env, arguments[1], &address));
  if (bind(fd, (struct sockaddr *)address.data, (socklen_t)address.length) < 0) return mw_throw_errno(env, "bind", errno);
  return NULL;
}

/* connect(fd, sockaddr) -> true when connected at once, false while in progress. */
static napi_value mw_connect(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  int32_t fd;
  mw_bytes address;
  if (!mw_arguments(env, info, 2, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(mw_get_bytes(env, arguments[1], &address));
  int failed = connect(fd, (struct sockaddr *)address.data, (socklen_t)address.length) < 0;
  if (failed && errno != EINPROGRESS) return mw_throw_errno(env, "connect", errno);
  napi_get_boolean(env, !failed, &result);
  return result;
}

/* getsockname(fd) -> sockaddr */
static napi_value mw_getsockname(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int32_t fd;
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (!mw_arguments(env, info, 1, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return mw_throw_errno(env, "getsockname", errno);
  return mw_copy_bytes(env, &address, length < sizeof address ? length : sizeof address);
}

/* setsockopt(fd, level, option, int | bytes) */
static napi_value mw_setsockopt(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int32_t fd, level, option, number;
  mw_bytes value;
  napi_valuetype type;
  if (!mw_arguments(env, info, 4, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(napi_get_value_int32(env, arguments[1], &level));
  TRY(napi_get_value_int32(env, arguments[2], &option));
  TRY(napi_typeof(env, arguments[3], &type));
  if (type == napi_number) {
    TRY(napi_get_value_int32(env, arguments[3], &number));
    value.data = (uint8_t *)&number;
    value.length = sizeof number;
  } else {
    TRY(mw_get_bytes(env, arguments[3], &value));
  }
  if (setsockopt(fd, level, option, value.data, (socklen_t)value.length) < 0)
    return mw_throw_errno(env, "setsockopt", errno);
  return NULL;
}

/* getsockopt(fd, level, option, maxLength) -> bytes */
static napi_value mw_getsockopt(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int32_t fd, level, option;
  uint32_t wanted;
  uint8_t value[1024];
  if (!mw_arguments(env, info, 4, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(napi_get_value_int32(env, arguments[1], &level));
  TRY(napi_get_value_int32(env, arguments[2], &option));
  TRY(napi_get_value_uint32(env, arguments[3], &wanted));
  socklen_t length = wanted < sizeof value ? wanted : sizeof value;
  memset(value, 0, sizeof value);
  if (getsockopt(fd, level, option, value, &length) < 0) return mw_throw_errno(env, "getsockopt", errno);
  return mw_copy_bytes(env, value, length < sizeof value ? length : sizeof value);
}

/* attachFilter(fd, instructions): classic BPF, 8 bytes each. sock_fprog holds a pointer, which setsockopt with bytes cannot carry. */
static napi_value mw_attach_filter(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int32_t fd;
  mw_bytes code;
  struct sock_filter instructions[4096]; /* BPF_MAXINSNS */
  if (!mw_arguments(env, info, 2, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(mw_get_bytes(env, arguments[1], &code));
  if (code.length == 0 || code.length % sizeof *instructions != 0 || code.length > sizeof instructions) {
    mw_throw_type(env, "attachFilter: expected 1 to 4096 instructions of 8 bytes");
    return NULL;
  }
  memcpy(instructions, code.data, code.length);
  struct sock_fprog program = {.len = (unsigned short)(code.length / sizeof *instructions), .filter = instructions};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
    return mw_throw_errno(env, "setsockopt(SO_ATTACH_FILTER)", errno);
  return NULL;
}

/* setns(fd): the calling thread's network namespace only. */
static napi_value mw_setns(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int32_t fd;
  if (!mw_arguments(env, info, 1, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  if (setns(fd, CLONE_NEWNET) < 0) return mw_throw_errno(env, "setns", errno);
  return NULL;
}

void mw_init_sockets(napi_env env, napi_value exports) {
  mw_export(env, exports, "socket", mw_socket);
  mw_export(env, exports, "close", mw_close);
  mw_export(env, exports, "bind", mw_bind);
  mw_export(env, exports, "connect", mw_connect);
  mw_export(env, exports, "getsockname", mw_getsockname);
  mw_export(env, exports, "setsockopt", mw_setsockopt);
  mw_export(env, exports, "getsockopt", mw_getsockopt);
  mw_export(env, exports, "attachFilter", mw_attach_filter);
  mw_export(env, exports, "setns", mw_setns);
}
