/* Readiness of any descriptor on the environment's own event loop (uv_poll), for descriptors that node:net and
 * node:dgram refuse: netlink, raw and packet sockets. */
#include "addon.h"

#include <stdlib.h>

/* The few names of libuv that are used. node-api-headers has no uv.h; these are part of libuv's stable 1.x ABI and are
 * exported by every node binary. */
typedef struct uv_loop_s uv_loop_t;
typedef struct uv_handle_s uv_handle_t;
enum { MW_UV_POLL = 8 };
extern size_t uv_handle_size(int type);
extern void uv_handle_set_data(uv_handle_t *handle, void *data);
extern void *uv_handle_get_data(const uv_handle_t *handle);
extern int uv_poll_init(uv_loop_t *loop, uv_handle_t *handle, int fd);
extern int uv_poll_start(uv_handle_t *handle, int events, void (*callback)(uv_handle_t *, int status, int events));
extern int uv_poll_stop(uv_handle_t *handle);
extern void uv_ref(uv_handle_t *handle);
extern void uv_unref(uv_handle_t *handle);
extern void uv_close(uv_handle_t *handle, void (*callback)(uv_handle_t *));

typedef struct {
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
  uv_handle_t *handle;
  int events;
  int closing;
  int references; /* one for the uv handle, one for the JavaScript value */
} mw_poll;

static void release(mw_poll *poll) {
  poll->references -= 1;
  if (poll->references > 0) return;
  free(poll->handle);
  free(poll);
}

static void on_closed(uv_handle_t *handle) {
  mw_poll *poll = uv_handle_get_data(handle);
  /* Removing the hook tells node that this environment may go: only now, when libuv is done with the handle. */
  napi_remove_async_cleanup_hook(poll->hook);
  release(poll);
}

static void begin_close(mw_poll *poll) {
  if (poll->closing) return;
  poll->closing = 1;
  uv_poll_stop(poll->handle);
  napi_delete_reference(poll->env, poll->callback);
  napi_async_destroy(poll->env, poll->context);
  uv_close(poll->handle, on_closed);
}

/* The environment ends (worker.terminate(), process exit) with the poll open. A synchronous hook would let node free
 * the loop before uv_close has called back. */
static void on_cleanup(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  begin_close(data);
}

static void on_ready(uv_handle_t *handle, int status, int events) {
  mw_poll *poll = uv_handle_get_data(handle);
  napi_env env = poll->env;
  napi_handle_scope scope;
  if (poll->closing || napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback, receiver, arguments[2], ignored;
  if (napi_get_reference_value(env, poll->callback, &callback) == napi_ok &&
      napi_get_global(env, &receiver) == napi_ok && napi_create_int32(env, status, &arguments[0]) == napi_ok &&
      napi_create_int32(env, events, &arguments[1]) == napi_ok) {
    napi_status called = napi_make_callback(env, poll->context, receiver, callback, 2, arguments, &ignored);
    if (called == napi_pending_exception) {
      napi_value thrown;
      /* What a callback throws becomes an uncaughtException, as everywhere else in node. */
      if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) napi_fatal_exception(env, thrown);
    }
  }
  /* A pending socket error (ENOBUFS of netlink, ENETDOWN of a packet socket) makes libuv stop the handle. The callback has
   * taken the error off by reading, and what comes after it must not go unheard. */
  if (status < 0 && !poll->closing) uv_poll_start(handle, poll->events, on_ready);
  napi_close_handle_scope(env, scope);
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  release(data);
}

static const napi_type_tag poll_tag = {0x6d657368777269ULL, 0x706f6c6c01ULL};

static mw_poll *unwrap(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  bool ours = false;
  void *data = NULL;
  if (!mw_arguments(env, info, 1, arguments)) return NULL;
  if (napi_check_object_type_tag(env, arguments[0], &poll_tag, &ours) != napi_ok || !ours ||
      napi_unwrap(env, arguments[0], &data) != napi_ok) {
    mw_throw_type(env, "expected a handle made by poll()");
    return NULL;
  }
  return data;
}

/* poll(fd, events, callback(status, events)) -> handle. 1 = readable, 2 = writable. It does not own the descriptor. */
static napi_value mw_poll_open(napi_env env, napi_callback_info info) {
  napi_value arguments[3], name, result;
  int32_t fd, events;
  napi_valuetype type;
  uv_loop_t *loop;
  if (!mw_arguments(env, info, 3, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(napi_get_value_int32(env, arguments[1], &events));
  TRY(napi_typeof(env, arguments[2], &type));
  TRY(type == napi_function ? napi_ok : napi_function_expected);
  TRY(napi_get_uv_event_loop(env, (struct uv_loop_s **)&loop));
  TRY(napi_create_string_utf8(env, "meshwright:poll", NAPI_AUTO_LENGTH, &name));
  TRY(napi_create_object(env, &result));
  TRY(napi_type_tag_object(env, result, &poll_tag));

  mw_poll *poll = calloc(1, sizeof *poll);
  uv_handle_t *handle = calloc(1, uv_handle_size(MW_UV_POLL));
  if (poll == NULL || handle == NULL) {
    free(poll);
    free(handle);
    return mw_throw_errno(env, "poll", 12 /* ENOMEM */);
  }
  poll->env = env;
  poll->handle = handle;
  poll->events = events;
  uv_handle_set_data(handle, poll);
  int failed = uv_poll_init(loop, handle, fd);
  if (failed != 0) {
    free(handle);
    free(poll);
    return mw_throw_errno(env, "uv_poll_init", -failed);
  }
  /* From here on the handle belongs to libuv and may only be freed after uv_close. */
  poll->references = 1;
  napi_create_reference(env, arguments[2], 1, &poll->callback);
  napi_async_init(env, NULL, name, &poll->context);
  napi_add_async_cleanup_hook(env, on_cleanup, poll, &poll->hook);
  if (napi_wrap(env, result, poll, on_collected, NULL, NULL) == napi_ok) poll->references += 1;
  failed = uv_poll_start(handle, events, on_ready);
  if (failed != 0) {
    begin_close(poll);
    return mw_throw_errno(env, "uv_poll_start", -failed);
  }
  return result;
}

/* pollClose(handle): no callback runs after it returns. Close the descriptor only afterwards. */
static napi_value mw_poll_close(napi_env env, napi_callback_info info) {
  mw_poll *poll = unwrap(env, info);
  if (poll != NULL) begin_close(poll);
  return NULL;
}

/* pollUnref(handle) / pollRef(handle): whether it keeps the process alive. */
static napi_value mw_poll_unref(napi_env env, napi_callback_info info) {
  mw_poll *poll = unwrap(env, info);
  if (poll != NULL && !poll->closing) uv_unref(poll->handle);
  return NULL;
}

static napi_value mw_poll_ref(napi_env env, napi_callback_info info) {
  mw_poll *poll = unwrap(env, info);
  if (poll != NULL && !poll->closing) uv_ref(poll->handle);
  return NULL;
}

void mw_init_poll(napi_env env, napi_value exports) {
  mw_export(env, exports, "poll", mw_poll_open);
  mw_export(env, exports, "pollClose", mw_poll_close);
  mw_export(env, exports, "pollRef", mw_poll_ref);
  mw_export(env, exports, "pollUnref", mw_poll_unref);
}
