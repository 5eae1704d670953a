/* Datagrams and netlink messages: sendto, and recvmsg with the control messages this package uses. */
#include "addon.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#ifndef IPV6_ORIGDSTADDR
#define IPV6_ORIGDSTADDR 74
#endif

/* sendto(fd, bytes, sockaddr | undefined) -> bytes sent, or -1 when it would block. */
static napi_value mw_sendto(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int32_t fd;
  mw_bytes data, address = {NULL, 0};
  if (!mw_arguments(env, info, 3, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(mw_get_bytes(env, arguments[1], &data));
  if (!mw_is_undefined(env, arguments[2])) TRY(mw_get_bytes(env, arguments[2], &address));
  ssize_t sent;
  do {
    sent = sendto(fd, data.data, data.length, MSG_NOSIGNAL, (struct sockaddr *)address.data, (socklen_t)address.length);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN) return mw_throw_errno(env, "sendto", errno);
  return mw_number(env, sent);
}

static void add_control(napi_env env, napi_value result, struct cmsghdr *header) {
  void *data = CMSG_DATA(header);
  int number;
  if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_TTL) {
    memcpy(&number, data, sizeof number);
    mw_set_property(env, result, "ttl", mw_number(env, number));
  } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_HOPLIMIT) {
    memcpy(&number, data, sizeof number);
    mw_set_property(env, result, "ttl", mw_number(env, number));
  } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
    struct in_pktinfo info;
    memcpy(&info, data, sizeof info);
    mw_set_property(env, result, "interfaceIndex", mw_number(env, info.ipi_ifindex));
  } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
    struct in6_pktinfo info;
    memcpy(&info, data, sizeof info);
    mw_set_property(env, result, "interfaceIndex", mw_number(env, info.ipi6_ifindex));
  } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_ORIGDSTADDR) {
    mw_set_property(env, result, "originalDestination", mw_copy_bytes(env, data, sizeof(struct sockaddr_in)));
  } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_ORIGDSTADDR) {
    mw_set_property(env, result, "originalDestination", mw_copy_bytes(env, data, sizeof(struct sockaddr_in6)));
  }
}

/* recvmsg(fd, buffer) -> { length, truncated, address, ttl?, interfaceIndex?, originalDestination? }, or undefined when it would block. */
static napi_value mw_recvmsg(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result, truncated;
  int32_t fd;
  mw_bytes data;
  struct sockaddr_storage address;
  union {
    char bytes[512];
    struct cmsghdr align;
  } control;
  if (!mw_arguments(env, info, 2, arguments)) return NULL;
  TRY(napi_get_value_int32(env, arguments[0], &fd));
  TRY(mw_get_bytes(env, arguments[1], &data));
  struct iovec vector = {.iov_base = data.data, .iov_len = data.length};
  struct msghdr message = {.msg_name = &address,
                           .msg_namelen = sizeof address,
                           .msg_iov = &vector,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t length;
  do {
    length = recvmsg(fd, &message, MSG_DONTWAIT);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return errno == EAGAIN ? NULL : mw_throw_errno(env, "recvmsg", errno);
  TRY(napi_create_object(env, &result));
  TRY(napi_get_boolean(env, (message.msg_flags & MSG_TRUNC) != 0, &truncated));
  mw_set_property(env, result, "length", mw_number(env, length));
  mw_set_property(env, result, "truncated", truncated);
  mw_set_property(env, result, "address", mw_copy_bytes(env, &address, message.msg_namelen));
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header))
    add_control(env, result, header);
  return result;
}

void mw_init_messages(napi_env env, napi_value exports) {
  mw_export(env, exports, "sendto", mw_sendto);
  mw_export(env, exports, "recvmsg", mw_recvmsg);
}
