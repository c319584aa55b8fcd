// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <limits>
#include <new>

#include "user_memory.hpp"

namespace doorbell::aio {
namespace {

constexpr std::uint64_t max_poll_events = 0xffff;
constexpr std::uint64_t max_vectors = 1024;  // UIO_MAXIOV
constexpr auto max_size = static_cast<std::uint64_t>(std::numeric_limits<ssize_t>::max());
constexpr std::int32_t known_rw_flags =
    0xff;  // RWF_HIPRI to RWF_DONTCACHE; what the file makes of them, it says itself

std::error_code error(std::errc what) noexcept { return std::make_error_code(what); }
std::error_code unless(bool good, std::errc otherwise) noexcept { return good ? std::error_code{} : error(otherwise); }

std::error_code check_priority(const iocb_abi& asked) noexcept {
  enum priority_class { none, realtime, best_effort, idle };
  const auto priority = static_cast<std::uint16_t>(asked.reqprio);
  const unsigned level = priority & 7U;
  switch (priority >> 13) {
    case realtime:
      return unless(::geteuid() == 0, std::errc::operation_not_permitted);
    case best_effort:
    case idle:
      return {};
    case none:
      return unless(level == 0, std::errc::invalid_argument);
    default:
      return error(std::errc::invalid_argument);
  }
}

std::error_code fetch_vectors(request& made) noexcept {
  if (made.what.nbytes > max_vectors) return error(std::errc::invalid_argument);
  const auto count = static_cast<std::size_t>(made.what.nbytes);
  made.vectors.reset(new (std::nothrow) iovec[count]);
  if (made.vectors == nullptr) return error(std::errc::not_enough_memory);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's ABI has addresses as numbers
  const auto* const there = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(made.what.buf));
  if (count > 0 && !read_memory(there, made.vectors.get(), count * sizeof(iovec))) return error(std::errc::bad_address);
  for (const auto& buffer : made.buffers()) {
    if (buffer.iov_len > max_size) return error(std::errc::invalid_argument);
    if (!in_user_half(buffer.iov_base, buffer.iov_len)) return error(std::errc::bad_address);
  }
  return {};
}

std::error_code check_buffer(request& made, bool vectored) noexcept {
  if (vectored) return fetch_vectors(made);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's ABI has addresses as numbers
  const auto* const buffer = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(made.what.buf));
  return unless(in_user_half(buffer, made.what.nbytes), std::errc::bad_address);
}

std::error_code check_transfer(request& made, const file_facts& file, int opened_for, bool vectored) noexcept {
  const auto& asked = made.what;
  if (asked.flags & iocb_abi::flag_ioprio)
    if (const auto ec = check_priority(asked)) return ec;
  if (asked.rw_flags & ~known_rw_flags) return error(std::errc::operation_not_supported);
  if (file.access_mode != O_RDWR && file.access_mode != opened_for) return error(std::errc::bad_file_descriptor);
  if (file.type == S_IFDIR) return error(std::errc::invalid_argument);
  if (const auto ec = check_buffer(made, vectored)) return ec;
  return unless(asked.offset >= 0, std::errc::invalid_argument);
}

std::error_code check_sync(const iocb_abi& asked, const file_facts& file) noexcept {
  const bool plain = asked.buf == 0 && asked.offset == 0 && asked.nbytes == 0 && asked.rw_flags == 0;
  const bool stored = file.type == S_IFREG || file.type == S_IFDIR || file.type == S_IFBLK;
  return unless(plain && stored, std::errc::invalid_argument);
}

std::error_code check_poll(const iocb_abi& asked) noexcept {
  return unless(asked.buf <= max_poll_events && asked.offset == 0 && asked.nbytes == 0 && asked.rw_flags == 0,
                std::errc::invalid_argument);
}

}  // namespace

std::error_code check_layout(const iocb_abi& asked) noexcept {
  return unless(asked.reserved2 == 0 && asked.nbytes <= max_size, std::errc::invalid_argument);
}

std::error_code look_up_file(const iocb_abi& asked, file_facts& file) noexcept {
  const int flags = ::fcntl(asked.fildes, F_GETFL);
  struct stat status{};
  if (flags < 0 || (flags & O_PATH) || ::fstat(asked.fildes, &status) != 0)
    return error(std::errc::bad_file_descriptor);
  file = {.access_mode = flags & O_ACCMODE, .type = status.st_mode & S_IFMT};
  return {};
}

std::error_code check_operation(request& made, const file_facts& file) noexcept {
  switch (static_cast<opcode>(made.what.lio_opcode)) {
    case opcode::pread:
      return check_transfer(made, file, O_RDONLY, false);
    case opcode::preadv:
      return check_transfer(made, file, O_RDONLY, true);
    case opcode::pwrite:
      return check_transfer(made, file, O_WRONLY, false);
    case opcode::pwritev:
      return check_transfer(made, file, O_WRONLY, true);
    case opcode::fsync:
    case opcode::fdsync:
      return check_sync(made.what, file);
    case opcode::poll:
      return check_poll(made.what);
  }
  return error(std::errc::invalid_argument);
}

}  // namespace doorbell::aio
