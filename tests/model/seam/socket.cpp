// SPDX-License-Identifier: Apache-2.0
//
// The kernel's socket pairs, as aio/engine/threads/file_channel.cpp uses them: a message is a word and a file
// (SCM_RIGHTS). A file in a message is open, even if the sender closes its number. Neither end blocks.
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "checker/failure.hpp"
#include "checker/tracking.hpp"
#include "kernel.hpp"

namespace doorbell::model {
namespace {

/// A step. @return null, and sets errno, if the number is not that of a socket.
std::shared_ptr<kernel_socket> find_socket(int number) {
  const auto* const there = find_descriptor(number);
  if (there == nullptr || there->socket == nullptr) {
    errno = there == nullptr ? EBADF : ENOTSOCK;
    return nullptr;
  }
  return there->socket;
}

ssize_t send_file(scheduler& all, kernel_socket& socket, const msghdr& message) {
  const auto* const header = CMSG_FIRSTHDR(&message);
  int number = -1;
  std::memcpy(&number, CMSG_DATA(header), sizeof number);
  if (!is_ours(number)) fail(failure::broken_scenario, "a file that is sent does not belong to the model checker");
  const auto* const there = find_descriptor(number);
  if (there == nullptr) return failed(EBADF);
  kernel_socket::message sent{.word = 0, .sent = *there};
  std::memcpy(&sent.word, message.msg_iov->iov_base, sizeof sent.word);
  all.step({.name = "sendmsg", .object = &socket});
  if (socket.messages.size() >= socket.room) return failed(EAGAIN);
  socket.messages.push_back(std::move(sent));
  return sizeof sent.word;
}

ssize_t receive_file(scheduler& all, kernel_socket& socket, msghdr& message, int flags) {
  all.step({.name = "recvmsg", .object = &socket});
  if (socket.messages.empty()) return failed(EAGAIN);
  const auto got = socket.messages.front();
  if (!(flags & MSG_PEEK)) socket.messages.pop_front();
  std::memcpy(message.msg_iov->iov_base, &got.word, sizeof got.word);
  if (message.msg_control == nullptr) return sizeof got.word;
  const int number = add_descriptor(got.sent);
  auto* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof number);
  std::memcpy(CMSG_DATA(header), &number, sizeof number);
  return sizeof got.word;
}

}  // namespace
}  // namespace doorbell::model

using namespace doorbell::model;

// NOLINTBEGIN(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
extern "C" {

int __real_socketpair(int, int, int, int*);
ssize_t __real_sendmsg(int, const msghdr*, int);
ssize_t __real_recvmsg(int, msghdr*, int);

int __wrap_socketpair(int domain, int type, int protocol, int* ends) {
  if (!scheduler::one().running()) return __real_socketpair(domain, type, protocol, ends);
  const not_tracked here;
  const auto made = make_socket();
  ends[0] = add_descriptor({.file = nullptr, .socket = made});
  ends[1] = add_descriptor({.file = nullptr, .socket = made});
  return 0;
}

ssize_t __wrap_sendmsg(int number, const msghdr* message, int flags) {
  if (!is_ours(number)) return __real_sendmsg(number, message, flags);
  const not_tracked here;
  const auto socket = find_socket(number);
  return socket != nullptr ? send_file(scheduler::one(), *socket, *message) : -1;
}

ssize_t __wrap_recvmsg(int number, msghdr* message, int flags) {
  if (!is_ours(number)) return __real_recvmsg(number, message, flags);
  const not_tracked here;
  const auto socket = find_socket(number);
  return socket != nullptr ? receive_file(scheduler::one(), *socket, *message, flags) : -1;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
