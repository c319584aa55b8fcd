// SPDX-License-Identifier: Apache-2.0
//
// System calls by number. The I/O threads make them on descriptors of their own table, which the program does not share
// (private_table.hpp). Code that runs in either kind of thread also makes them in threads of the program.
//
// ThreadSanitizer intercepts the functions of the C library and keeps a state for each descriptor number. It knows only
// one table, so it would confuse a number in the I/O threads' table with the program's file of that number. It does not
// see system calls made by number.
//
// Thread safety and errors: those of the system calls, -1 and errno.
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace doorbell::aio::raw {

inline void close(int fd) noexcept { ::syscall(SYS_close, fd); }
inline int open(const char* path, int flags) noexcept {
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, 0));
}
inline int get_flags(int fd) noexcept { return static_cast<int>(::syscall(SYS_fcntl, fd, F_GETFL)); }
inline int get_status(int fd, struct stat& status) noexcept { return ::fstatat(fd, "", &status, AT_EMPTY_PATH); }
inline bool ioctl(int fd, unsigned long request, void* argument) noexcept {
  return ::syscall(SYS_ioctl, fd, request, argument) == 0;
}
inline ssize_t receive(int fd, msghdr& message, int flags) noexcept {
  return ::syscall(SYS_recvmsg, fd, &message, flags);
}
inline ssize_t send(int fd, const msghdr& message, int flags) noexcept {
  return ::syscall(SYS_sendmsg, fd, &message, flags);
}
// The kernel takes the offset in two halves; where a register holds the whole offset, the second half is unused.
static_assert(sizeof(long) == sizeof(off_t));
/// preadv2(2) or pwritev2(2).
inline ssize_t transfer(bool reads, int fd, const iovec* buffers, int count, off_t offset, int flags) noexcept {
  return ::syscall(reads ? SYS_preadv2 : SYS_pwritev2, fd, buffers, count, offset, 0L, flags);
}
/// preadv(2) or pwritev(2); with offset -1 readv(2) or writev(2), as preadv2(2) and pwritev2(2) do.
inline ssize_t transfer_without_flags(bool reads, int fd, const iovec* buffers, int count, off_t offset) noexcept {
  if (offset == -1) return ::syscall(reads ? SYS_readv : SYS_writev, fd, buffers, count);
  // equivalent fault (constant): the second half of the offset is unused
  return ::syscall(reads ? SYS_preadv : SYS_pwritev, fd, buffers, count, offset, 0L);
}
inline bool add_to_eventfd(int fd) noexcept {
  const std::uint64_t one = 1;
  return ::syscall(SYS_write, fd, &one, sizeof one) == sizeof one;
}
inline void drain_eventfd(int fd) noexcept {
  std::uint64_t count = 0;
  ::syscall(SYS_read, fd, &count, sizeof count);
}
inline int make_epoll() noexcept { return static_cast<int>(::syscall(SYS_epoll_create1, EPOLL_CLOEXEC)); }
inline bool control_epoll(int epoll, int operation, int fd, epoll_event* event) noexcept {
  return ::syscall(SYS_epoll_ctl, epoll, operation, fd, event) == 0;
}
inline int wait_in_epoll(int epoll, epoll_event* events, int count, int milliseconds) noexcept {
  // equivalent fault (constant): there is no mask, so the kernel ignores its size
  return static_cast<int>(::syscall(SYS_epoll_pwait, epoll, events, count, milliseconds, nullptr, std::size_t{8}));
}

}  // namespace doorbell::aio::raw
