// SPDX-License-Identifier: Apache-2.0
#include "file_channel.hpp"

#include <poll.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "../../system/raw_calls.hpp"

namespace doorbell::aio {
namespace {

constexpr int longest_wait_for_room_ms = 1000;

/// Space for one descriptor beside the bytes of a message.
struct ancillary {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

msghdr message_of(iovec& data, ancillary& beside) noexcept {
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = beside.bytes.data();
  message.msg_controllen = beside.bytes.size();
  return message;
}

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

}  // namespace

std::error_code file_channel::open() noexcept {
  std::array<int, 2> ends{-1, -1};  // equivalent fault (constant): used only after socketpair(2) has stored it
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) return last_error();
  sender_ = base::private_fd{base::unique_fd{ends[0]}};
  receiver_ = base::private_fd{base::unique_fd{ends[1]}};
  receiving_end_ = receiver_.get();
  return {};
}

// A system call that ThreadSanitizer does not see. The descriptor may have the number of an earlier file of doorbell's
// that the program has closed without ThreadSanitizer's knowledge: it would take this close for a close of that file.
void file_channel::close_receiving_end() noexcept {
  if (receiver_.is_ours()) raw::close(receiver_.release());
}

void file_channel::abandon() noexcept {
  sender_.reset();
  receiver_.reset();
}

std::error_code file_channel::send(std::uint64_t word, int fd) noexcept {
  if (!sender_.is_ours()) return std::make_error_code(std::errc::not_connected);
  iovec data{.iov_base = &word, .iov_len = sizeof word};
  ancillary beside;
  const auto message = message_of(data, beside);
  auto* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  // equivalent fault (comparison): sendmsg(2) of some bytes does not return 0
  while (raw::send(sender_.get(), message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
    if (errno != EINTR) return last_error();
  // If the program has closed the sending end meanwhile, the message may have reached another socket with its number.
  return sender_.is_ours() ? std::error_code{} : std::make_error_code(std::errc::not_connected);
}

void file_channel::wait_for_room() const noexcept {
  if (!sender_.is_ours()) return;
  pollfd room{.fd = sender_.get(), .events = POLLOUT, .revents = 0};
  ::poll(&room, 1, longest_wait_for_room_ms);
}

// recvmsg(2) with MSG_PEEK already gives the file a descriptor. It leaves the message in the socket, even if no
// descriptor is available. drop() then receives the message without space for another descriptor.
std::optional<file_channel::received> file_channel::receive() const noexcept {
  received got{.word = 0, .fd = -1};
  iovec data{.iov_base = &got.word, .iov_len = sizeof got.word};
  ancillary beside;
  auto message = message_of(data, beside);
  if (!receive(message, MSG_PEEK)) return std::nullopt;
  const auto* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) std::memcpy(&got.fd, CMSG_DATA(header), sizeof got.fd);
  if (got.fd >= 0) drop();
  return got;
}

void file_channel::drop() const noexcept {
  std::uint64_t word = 0;
  iovec data{.iov_base = &word, .iov_len = sizeof word};
  msghdr message{};
  message.msg_iov = &data;
  // equivalent fault (assignment): recvmsg(2) also removes a message for which there is no space
  message.msg_iovlen = 1;
  std::ignore = receive(message, 0);
}

bool file_channel::receive(msghdr& message, int flags) const noexcept {
  ssize_t size = 0;
  do size = raw::receive(receiving_end_, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
  while (size < 0 && errno == EINTR);
  return size == static_cast<ssize_t>(message.msg_iov->iov_len);
}

}  // namespace doorbell::aio
