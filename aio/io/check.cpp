// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <doorbell/base/unique_fd.hpp>

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <new>

#include "../request/operation.hpp"
#include "../system/user_memory.hpp"

namespace doorbell::aio {
namespace {

constexpr std::uint64_t max_poll_events = 0xffff;
constexpr std::uint64_t always_there = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
constexpr std::uint64_t max_vectors = 1024;  // UIO_MAXIOV
constexpr auto max_size = static_cast<std::uint64_t>(std::numeric_limits<ssize_t>::max());
// All flags from RWF_HIPRI to RWF_NOSIGNAL (Linux 6.18). If the kernel or the file does not support a flag, the request
// fails later.
constexpr std::int32_t known_rw_flags = 0x1ff;
constexpr std::int32_t append_and_not = 0x30;  // RWF_APPEND and RWF_NOAPPEND
constexpr std::int32_t atomic_write = 0x40;    // RWF_ATOMIC (Linux 6.11)

std::error_code error(std::errc what) noexcept { return std::make_error_code(what); }
std::error_code unless(bool good, std::errc otherwise) noexcept { return good ? std::error_code{} : error(otherwise); }

// As the kernel's ioprio_check_cap(): checks the capabilities and not the user, because capabilities can be dropped and
// granted.
bool may_be_realtime() noexcept {
  constexpr std::uint32_t needed = 1U << CAP_SYS_NICE | 1U << CAP_SYS_ADMIN;
  __user_cap_header_struct which{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> held{};
  return ::syscall(SYS_capget, &which, held.data()) == 0 && (held[0].effective & needed) != 0;
}

std::error_code check_priority(const iocb_abi& asked) noexcept {
  enum priority_class { none, realtime, best_effort, idle };
  const auto priority = static_cast<std::uint16_t>(asked.reqprio);
  const unsigned level = priority & 7U;
  switch (priority >> 13) {
    case realtime:
      return unless(may_be_realtime(), std::errc::operation_not_permitted);
    case best_effort:
    case idle:
      return {};
    case none:
      return unless(level == 0, std::errc::invalid_argument);
    default:
      return error(std::errc::invalid_argument);
  }
}

// Checks all lengths first, then all addresses. The length of a single buffer is truncated to max_transfer before its
// address is checked.
std::error_code check_vectors(std::span<const iovec> buffers) noexcept {
  for (const auto& buffer : buffers)
    if (buffer.iov_len > max_size) return error(std::errc::invalid_argument);
  const auto cut = buffers.size() == 1 ? max_transfer : max_size;
  for (const auto& buffer : buffers)
    if (!in_user_half(buffer.iov_base, std::min(buffer.iov_len, cut))) return error(std::errc::bad_address);
  return {};
}

// Like the kernel, uses the low 32 bits of the number of buffers.
std::error_code fetch_vectors(request& made) noexcept {
  const auto count = static_cast<std::uint32_t>(made.iocb.nbytes);
  if (count > max_vectors) return error(std::errc::invalid_argument);
  made.iocb.nbytes = count;
  auto* const room = made.room_for_vectors(count);
  if (room == nullptr) return error(std::errc::not_enough_memory);
  const auto* const there = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(made.iocb.buf));
  if (count > 0 && !read_memory(there, room, count * sizeof(iovec))) return error(std::errc::bad_address);
  return check_vectors(made.buffers());
}

std::error_code check_buffer(request& made, bool vectored) noexcept {
  if (vectored) return fetch_vectors(made);
  const auto bytes = std::min(made.iocb.nbytes, max_transfer);
  const auto* const buffer = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(made.iocb.buf));
  return unless(in_user_half(buffer, bytes), std::errc::bad_address);
}

std::uint64_t bytes_to_transfer(const request& made, bool vectored) noexcept {
  if (!vectored) return std::min(made.iocb.nbytes, max_transfer);
  std::uint64_t sum = 0;
  for (const auto& buffer : made.buffers()) sum += std::min(buffer.iov_len, max_transfer - sum);
  return sum;
}

// Also applies to files that have no position.
std::error_code check_range(const iocb_abi& asked, std::uint64_t bytes) noexcept {
  const bool wraps = asked.offset >= 0 && bytes > max_size - static_cast<std::uint64_t>(asked.offset);
  return unless(asked.offset >= 0 && !wraps, std::errc::invalid_argument);
}

// A descriptor that is no file, directory, device, pipe or socket (for example an epoll or a pidfd) may support neither
// reads nor writes; io_uring would report that only when the descriptor is ready. A transfer of 0 buffers reports it
// immediately.
bool can_transfer(int fd, const file_facts& file, int opened_for) noexcept {
  if (file.type == S_IFDIR) return false;
  if (file.type != 0) return true;
  return (opened_for == O_RDONLY ? ::readv(fd, nullptr, 0) : ::writev(fd, nullptr, 0)) == 0;
}

// @return 0, or the errno of preadv2(2) or pwritev2(2) with two flags that exclude each other, which is reported before
// any data is transferred. The kernel checks the combination only for files that have the operations that the kernel's
// AIO needs (read_iter, write_iter); for other files, it supports no flag.
int error_of_excluding_flags(int fd, int opened_for) noexcept {
  char byte = 0;
  const iovec buffer{.iov_base = &byte, .iov_len = 1};
  const auto answer = opened_for == O_RDONLY ? ::preadv2(fd, &buffer, 1, -1, append_and_not)
                                             : ::pwritev2(fd, &buffer, 1, -1, append_and_not);
  return answer < 0 ? errno : 0;
}

// Whether the flags show if a file has these operations: since Linux 6.9, which added RWF_NOAPPEND.
bool flags_tell_of_operations() noexcept {
  static const bool do_they = [] {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    const base::unique_fd read{ends[0]};
    const base::unique_fd write{ends[1]};
    return error_of_excluding_flags(write.get(), O_WRONLY) == EINVAL;
  }();
  return do_they;
}

// Files, pipes and sockets have these operations. Some devices and inotify do not, and an eventfd has no write_iter.
bool lacks_operation_of_aio(int fd, const file_facts& file, int opened_for) noexcept {
  if (file.type != 0 && file.type != S_IFCHR) return false;
  return flags_tell_of_operations() && error_of_excluding_flags(fd, opened_for) == EOPNOTSUPP;
}

// RWF_DONTCACHE applies to the page cache only. A read into read-only memory, which transfers nothing, shows whether a
// file supports the flag, and RWF_NOWAIT. Files that support RWF_DONTCACHE also support RWF_NOWAIT.
bool supports_flags(const iocb_abi& asked, const file_facts& file) noexcept {
  constexpr std::int32_t dont_cache = 0x80;  // RWF_DONTCACHE (Linux 6.14)
  static constexpr char read_only = 0;
  const auto flags = asked.rw_flags & (RWF_NOWAIT | dont_cache);
  if (flags == 0) return true;
  if (file.type != S_IFREG && file.type != S_IFBLK) return (flags & dont_cache) == 0;
  if (file.type != S_IFREG || file.access_mode == O_WRONLY) return true;
  const iovec nowhere{.iov_base = const_cast<char*>(&read_only), .iov_len = 1};  // never written
  return ::preadv2(asked.fildes, &nowhere, 1, 0, flags | RWF_NOWAIT) >= 0 || errno != EOPNOTSUPP;
}

// Whether pipes support RWF_NOWAIT: since Linux 6.5. An older kernel would refuse the request.
bool pipes_know_nowait() noexcept {
  static const bool known = [] {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    const base::unique_fd read{ends[0]};
    const base::unique_fd write{ends[1]};
    char byte = 0;
    const iovec buffer{.iov_base = &byte, .iov_len = 1};
    return ::preadv2(read.get(), &buffer, 1, -1, RWF_NOWAIT) < 0 && errno == EAGAIN;
  }();
  return known;
}

// Kernels and file systems that do not support atomic writes do not report the attribute.
bool can_write_atomically(int fd) noexcept {
  constexpr unsigned limits_of_atomic_writes = 0x10000;  // STATX_WRITE_ATOMIC
  constexpr std::uint64_t has_them = 0x400000;           // STATX_ATTR_WRITE_ATOMIC
  struct statx status{};
  return ::statx(fd, "", AT_EMPTY_PATH, limits_of_atomic_writes, &status) == 0 &&
         (status.stx_attributes & has_them) != 0;
}

struct transfer_kind {
  int opened_for;
  bool is_vectored;
  bool as_the_kernel;
};

std::error_code check_transfer(request& made, const file_facts& file, const transfer_kind& kind) noexcept {
  const auto [opened_for, vectored, as_the_kernel] = kind;
  const auto& asked = made.iocb;
  if (asked.flags & iocb_abi::flag_ioprio)
    if (const auto ec = check_priority(asked)) return ec;
  if (asked.rw_flags & ~known_rw_flags) return error(std::errc::operation_not_supported);
  if ((asked.rw_flags & atomic_write) && (opened_for == O_RDONLY || !can_write_atomically(asked.fildes)))
    return error(std::errc::operation_not_supported);
  if ((asked.rw_flags & append_and_not) == append_and_not) return error(std::errc::invalid_argument);
  if (!supports_flags(asked, file)) return error(std::errc::operation_not_supported);
  if (file.access_mode != O_RDWR && file.access_mode != opened_for) return error(std::errc::bad_file_descriptor);
  if (!can_transfer(asked.fildes, file, opened_for)) return error(std::errc::invalid_argument);
  if (as_the_kernel && lacks_operation_of_aio(asked.fildes, file, opened_for))
    return error(std::errc::invalid_argument);
  if (const auto ec = check_buffer(made, vectored)) return ec;
  // The kernel's AIO ignores RWF_HIPRI; io_uring refuses it.
  made.iocb.rw_flags &= ~RWF_HIPRI;
  // io_uring waits even for a file with O_NONBLOCK; the kernel's AIO fails with EAGAIN, which the program expects.
  if (file.does_not_block && pipes_know_nowait()) made.iocb.rw_flags |= RWF_NOWAIT;
  return check_range(asked, bytes_to_transfer(made, vectored));
}

std::error_code check_sync(const iocb_abi& asked, const file_facts& file) noexcept {
  const bool plain = asked.buf == 0 && asked.offset == 0 && asked.nbytes == 0 && asked.rw_flags == 0;
  const bool stored = file.type == S_IFREG || file.type == S_IFDIR || file.type == S_IFBLK;
  return unless(plain && stored, std::errc::invalid_argument);
}

// Files that are always ready cannot be waited for: the poll must ask for an event that they always have.
std::error_code check_poll(const iocb_abi& asked, const file_facts& file) noexcept {
  const bool plain = asked.buf <= max_poll_events && asked.offset == 0 && asked.nbytes == 0 && asked.rw_flags == 0;
  const bool always_ready = file.type == S_IFREG || file.type == S_IFDIR || file.type == S_IFBLK;
  return unless(plain && (!always_ready || (asked.buf & always_there) != 0), std::errc::invalid_argument);
}

file_facts facts_by(int flags) noexcept {
  return {.access_mode = flags & O_ACCMODE,
          .type = S_IFREG,
          .is_direct = (flags & O_DIRECT) != 0,
          .is_synced = (flags & O_DSYNC) != 0};
}

std::error_code look_up_type(int fd, int flags, file_facts& file) noexcept {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return error(std::errc::bad_file_descriptor);
  file.type = status.st_mode & S_IFMT;
  file.device = status.st_dev;
  file.inode = status.st_ino;
  file.does_not_block = (flags & O_NONBLOCK) && (file.type == S_IFIFO || file.type == S_IFSOCK);
  return {};
}

}  // namespace

std::error_code check_layout(const iocb_abi& asked) noexcept {
  return unless(asked.reserved2 == 0 && asked.nbytes <= max_size, std::errc::invalid_argument);
}

// Looks up the type of a file with O_DIRECT, too: a pipe may have that flag, and its requests do not wait for a disk.
std::error_code look_up_file(const iocb_abi& asked, file_facts& file) noexcept {
  const int flags = ::fcntl(asked.fildes, F_GETFL);
  if (flags < 0 || (flags & O_PATH)) return error(std::errc::bad_file_descriptor);
  file = facts_by(flags);
  return look_up_type(asked.fildes, flags, file);
}

file_facts file_facts::look_up(int fd, std::error_code& ec) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  auto file = facts_by(flags);
  ec = flags < 0 || (flags & O_PATH) ? error(std::errc::bad_file_descriptor) : look_up_type(fd, flags, file);
  return ec ? file_facts{} : file;
}

std::error_code check_operation(request& made, const file_facts& file, bool as_the_kernel) noexcept {
  switch (operation_of(made.iocb)) {
    case opcode::pread:
      return check_transfer(made, file, {O_RDONLY, false, as_the_kernel});
    case opcode::preadv:
      return check_transfer(made, file, {O_RDONLY, true, as_the_kernel});
    case opcode::pwrite:
      return check_transfer(made, file, {O_WRONLY, false, as_the_kernel});
    case opcode::pwritev:
      return check_transfer(made, file, {O_WRONLY, true, as_the_kernel});
    case opcode::fsync:
    case opcode::fdsync:
      return check_sync(made.iocb, file);
    case opcode::poll:
      return check_poll(made.iocb, file);
  }
  return error(std::errc::invalid_argument);
}

}  // namespace doorbell::aio
