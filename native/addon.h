/* Shared by the files of the addon. Plain C11, Node-API version 8, no C++ runtime: every symbol that is not a system
 * call wrapper of libc comes from the node process itself. */
#ifndef MESHWRIGHT_ADDON_H
#define MESHWRIGHT_ADDON_H

#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>
#include <stddef.h>
#include <stdint.h>

/* Returns from the calling function with NULL when a Node-API call failed; the exception it left is thrown. */
#define TRY(call)                     \
  do {                                \
    if ((call) != napi_ok) {          \
      mw_throw_type(env, "meshwright native addon: wrong argument"); \
      return NULL;                    \
    }                                 \
  } while (0)

typedef struct {
  uint8_t *data;
  size_t length;
} mw_bytes;

/* Throws a TypeError unless an exception is already pending. */
void mw_throw_type(napi_env env, const char *message);
/* Throws an Error shaped as Node's own system errors: code, errno (negative), syscall. Returns NULL. */
napi_value mw_throw_errno(napi_env env, const char *syscall, int error);
/* Reads exactly the arguments asked for; false (with an exception pending) when fewer came. */
int mw_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);
int mw_is_undefined(napi_env env, napi_value value);
napi_status mw_get_bytes(napi_env env, napi_value value, mw_bytes *out);
napi_value mw_number(napi_env env, int64_t value);
napi_value mw_copy_bytes(napi_env env, const void *data, size_t length);
void mw_set_property(napi_env env, napi_value object, const char *name, napi_value value);

/* Each adds its functions to the module's exports. */
void mw_init_sockets(napi_env env, napi_value exports);
void mw_init_messages(napi_env env, napi_value exports);
void mw_init_poll(napi_env env, napi_value exports);

void mw_export(napi_env env, napi_value exports, const char *name, napi_callback callback);

#endif
