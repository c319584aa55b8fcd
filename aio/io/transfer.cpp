// SPDX-License-Identifier: Apache-2.0
#include "transfer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "../request/operation.hpp"
#include "../system/private_table.hpp"
#include "../system/raw_calls.hpp"

namespace doorbell::aio {
namespace {

constexpr off_t at_its_position = -1;

/// The buffers of a request, as the system calls take them.
class buffers {
 public:
  explicit buffers(const request& asked) noexcept
      : one_{reinterpret_cast<void*>(static_cast<std::uintptr_t>(asked.iocb.buf)), asked.iocb.nbytes},
        all_{is_vectored(asked.iocb) ? asked.buffers() : std::span{&one_, 1}} {}
  buffers(const buffers&) = delete;
  buffers& operator=(const buffers&) = delete;

  [[nodiscard]] const iovec* data() const noexcept { return all_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
  [[nodiscard]] bool are_empty() const noexcept {
    return std::ranges::all_of(all_, [](const auto& each) { return each.iov_len == 0; });
  }

 private:
  const iovec one_;
  const std::span<const iovec> all_;
};

template <class Call>
std::int64_t answer_of(Call call) noexcept {
  for (;;) {
    if (const std::int64_t answer = call(); answer >= 0) return answer;
    if (errno != EINTR) return -errno;
  }
}

// Threads that share the program's table use the functions of the C library, which ThreadSanitizer intercepts.
std::int64_t transfer_by_newest_call(const request& asked, int fd, off_t offset, int flags) noexcept {
  const buffers memory{asked};
  const auto count = static_cast<int>(memory.size());
  return answer_of([&] {
    if (is_in_private_table()) return raw::transfer(is_read(asked.iocb), fd, memory.data(), count, offset, flags);
    return is_read(asked.iocb) ? ::preadv2(fd, memory.data(), count, offset, flags)
                               : ::pwritev2(fd, memory.data(), count, offset, flags);
  });
}

std::int64_t transfer_by_older_call(const request& asked, int fd, off_t offset) noexcept {
  const buffers memory{asked};
  const auto count = static_cast<int>(memory.size());
  return answer_of([&]() -> std::int64_t {
    if (is_in_private_table())
      return raw::transfer_without_flags(is_read(asked.iocb), fd, memory.data(), count, offset);
    if (offset == at_its_position)
      return is_read(asked.iocb) ? ::readv(fd, memory.data(), count) : ::writev(fd, memory.data(), count);
    return is_read(asked.iocb) ? ::preadv(fd, memory.data(), count, offset)
                               : ::pwritev(fd, memory.data(), count, offset);
  });
}

// A file may cause the same errors as a sandbox. A call with an invalid descriptor fails with EBADF, unless a sandbox
// refuses the call.
bool is_refused_by_sandbox(bool reads) noexcept {
  // equivalent fault (constant): the kernel checks the descriptor first, and each negative number is invalid
  return raw::transfer(reads, -1, nullptr, 0, 0, 0) < 0 && errno != EBADF;
}

// A sandbox may refuse preadv2(2) and pwritev2(2), which are newer than many lists of allowed calls. The kernel's own
// AIO does not depend on them.
std::int64_t transfer_at(const request& asked, int fd, off_t offset, int flags) noexcept {
  const auto answer = transfer_by_newest_call(asked, fd, offset, flags);
  const bool may_be_refused = answer == -ENOSYS || answer == -EPERM || answer == -EACCES;
  if (!may_be_refused || !is_refused_by_sandbox(is_read(asked.iocb))) return answer;
  if (flags == RWF_NOWAIT) return -EOPNOTSUPP;
  return flags == 0 ? transfer_by_older_call(asked, fd, offset) : answer;
}

// A file without positions ignores the offset; but a socket refuses any offset except 0, as in the kernel's AIO.
std::int64_t transfer(const request& asked, int fd, int flags) noexcept {
  const auto answer = transfer_at(asked, fd, asked.iocb.offset, flags);
  if (answer != -ESPIPE || (asked.iocb.offset != 0 && kind_of(fd) == file_kind::socket)) return answer;
  return transfer_at(asked, fd, at_its_position, flags);
}

// For sockets that do not support RWF_NOWAIT (before Linux 6.4).
std::int64_t transfer_message(const request& asked, int fd) noexcept {
  const buffers memory{asked};
  if (asked.iocb.offset != 0) return -ESPIPE;
  if (memory.are_empty() && is_read(asked.iocb)) return 0;
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(memory.data());  // sendmsg(2) only reads them
  message.msg_iovlen = memory.size();
  return answer_of([&] {
    return is_read(asked.iocb) ? raw::receive(fd, message, MSG_DONTWAIT) : raw::send(fd, message, MSG_DONTWAIT);
  });
}

// With no bytes to transfer, the calls with a list of buffers do not call the file's operation. The kernel's AIO does:
// a write of 0 bytes sends an empty datagram, and a read of 0 bytes from an eventfd is too short.
std::int64_t transfer_nothing(const request& asked, int fd) noexcept {
  if (kind_of(fd) == file_kind::socket) return transfer_message(asked, fd);
  return answer_of([&] { return is_read(asked.iocb) ? ::read(fd, nullptr, 0) : ::write(fd, nullptr, 0); });
}

attempt outcome_of(std::int64_t answer) noexcept {
  if (answer == -EAGAIN) return {attempt::outcome::not_ready};
  return {attempt::outcome::done, answer};
}

bool does_not_block(int fd) noexcept { return (raw::get_flags(fd) & O_NONBLOCK) != 0; }

/// Sets a request's I/O priority for the thread while the thread carries it out. The permission was checked before.
class priority {
 public:
  explicit priority(const iocb_abi& what) noexcept : asked_{(what.flags & iocb_abi::flag_ioprio) != 0} {
    if (asked_) set(static_cast<std::uint16_t>(what.reqprio));
  }
  ~priority() {
    if (asked_) set(0);
  }
  priority(const priority&) = delete;
  priority& operator=(const priority&) = delete;

 private:
  // From linux/ioprio.h, which is not valid C++: since Linux 6.5 it has a parameter named `class`.
  static constexpr int who_process = 1;

  static void set(int value) noexcept { ::syscall(SYS_ioprio_set, who_process, 0, value); }

  bool asked_;
};

}  // namespace

file_kind kind_of(int fd) noexcept {
  struct stat about{};
  if (raw::get_status(fd, about) != 0) return file_kind::store;
  switch (about.st_mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFBLK:
      return file_kind::store;
    case S_IFIFO:
      return file_kind::pipe;
    case S_IFSOCK:
      return file_kind::socket;
    default:
      return file_kind::other;
  }
}

// Only pipes and terminals can be opened again: for other devices, open and close may have side effects. The master of
// a terminal cannot: a second open would make the master of another terminal.
bool can_be_opened_again(int fd) noexcept {
  if (kind_of(fd) == file_kind::pipe) return true;
  termios settings{};
  unsigned number = 0;
  return raw::ioctl(fd, TCGETS, &settings) && !raw::ioctl(fd, TIOCGPTN, &number);
}

attempt try_transfer(const request& asked, int fd) noexcept {
  if (buffers{asked}.are_empty()) return outcome_of(transfer_nothing(asked, fd));
  const auto answer = transfer(asked, fd, asked.iocb.rw_flags | RWF_NOWAIT);
  if (answer != -EOPNOTSUPP) return outcome_of(answer);
  if (kind_of(fd) == file_kind::socket) return outcome_of(transfer_message(asked, fd));
  if (does_not_block(fd)) return outcome_of(transfer(asked, fd, asked.iocb.rw_flags & ~RWF_NOWAIT));
  return {attempt::outcome::impossible};
}

bool never_waits(const request& asked) noexcept {
  return (asked.iocb.rw_flags & RWF_NOWAIT) != 0 || does_not_block(asked.iocb.fildes);
}

std::int64_t carry_out(const request& asked, int fd) noexcept {
  const priority meanwhile{asked.iocb};
  switch (operation_of(asked.iocb)) {
    case opcode::fsync:
      return answer_of([&] { return ::fsync(fd); });
    case opcode::fdsync:
      return answer_of([&] { return ::fdatasync(fd); });
    case opcode::pread:
    case opcode::pwrite:
    case opcode::preadv:
    case opcode::pwritev:
      return transfer(asked, fd, asked.iocb.rw_flags);
    case opcode::poll:  // waits in the poller and moves no bytes
      break;
  }
  return -EINVAL;
}

// As in the kernel's generic_write_checks(): with O_APPEND, a write starts at the end of the file.
bool starts_beyond_size_limit(const request& asked) noexcept {
  constexpr int no_append = 0x20;  // RWF_NOAPPEND (Linux 6.9)
  if (!is_write(asked.iocb)) return false;
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return false;
  struct stat status{};
  if (::fstat(asked.iocb.fildes, &status) != 0 || !S_ISREG(status.st_mode) || buffers{asked}.are_empty()) return false;
  const bool may_append = (::fcntl(asked.iocb.fildes, F_GETFL) & O_APPEND) != 0 && !(asked.iocb.rw_flags & no_append);
  const bool appends = may_append || (asked.iocb.rw_flags & RWF_APPEND) != 0;
  return static_cast<rlim_t>(appends ? status.st_size : asked.iocb.offset) >= limit.rlim_cur;
}

bool is_ready(int fd, short events) noexcept {
  pollfd asked{.fd = fd, .events = events, .revents = 0};
  return ::poll(&asked, 1, 0) > 0;
}

}  // namespace doorbell::aio
