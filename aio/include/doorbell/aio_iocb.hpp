// SPDX-License-Identifier: Apache-2.0
//
// iocb and io_event: a request to an AIO context, and its result. Their layout is the kernel's (linux/aio_abi.h).
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <doorbell/aio_file.hpp>
#include <doorbell/eventfd.hpp>

namespace doorbell::aio {

enum class opcode : std::uint16_t {
  pread = 0,
  pwrite = 1,
  fsync = 2,
  fdsync = 3,
  poll = 5,
  preadv = 7,
  pwritev = 8,
};

/// The 64 bytes of the kernel's struct iocb, with libaio's field names.
struct iocb_abi {
  static constexpr std::uint32_t flag_resfd = 1;
  static constexpr std::uint32_t flag_ioprio = 2;

  void* data = nullptr;          ///< copied to io_event::data
  std::uint32_t key = 0;         ///< set to 0 by submit
  std::int32_t rw_flags = 0;     ///< RWF_*
  std::uint16_t lio_opcode = 0;  ///< a value of `opcode`
  std::int16_t reqprio = 0;      ///< the I/O priority, with flag_ioprio
  int fildes = -1;               ///< the request uses the file to which this refers at submit
  std::uint64_t buf = 0;         ///< address of the buffer or of the iovecs; for poll, the events
  std::uint64_t nbytes = 0;      ///< bytes; for preadv and pwritev, the number of iovecs
  std::int64_t offset = 0;       ///< bytes from the start of the file
  std::uint64_t reserved2 = 0;   ///< must be 0
  std::uint32_t flags = 0;       ///< flag_*
  std::uint32_t resfd = 0;       ///< with flag_resfd; see iocb::set_eventfd
};
static_assert(sizeof(iocb_abi) == 64, "the kernel's layout, for 64-bit little-endian machines");

/// A request. A value: submit reads it, and keeps only its address, which the event contains (io_event::obj). The
/// memory that `buf` points to must stay valid until the event has come.
struct iocb : iocb_abi {
  /// Sets the eventfd that is signalled, by 1, when the request is complete. The iocb keeps a reference to the
  /// eventfd_ctx, not to a file: if the eventfd is closed before submit, submit fails with bad_file_descriptor; if it
  /// is closed later, the count is added, but no thread can read it.
  void set_eventfd(const eventfd& efd) noexcept {
    efd_ = efd.context();
    flags |= flag_resfd;
  }

  /// The eventfd that was set, or null.
  [[nodiscard]] const eventfd_ctx_ptr& eventfd() const noexcept { return efd_; }

  /// Sets the facts about the file of `fildes`, so that submit need not look them up. With io_uring, four or more
  /// cached reads of such files, without an eventfd, that are submitted together are left to the engine, which starts
  /// them all by one system call.
  void set_file(const file_facts& known) noexcept { file_ = known; }
  [[nodiscard]] const std::optional<file_facts>& file() const noexcept { return file_; }

 private:
  eventfd_ctx_ptr efd_;
  std::optional<file_facts> file_;
};

/// A completion.
struct io_event {
  void* data;        ///< iocb_abi::data, as it was at submit
  iocb* obj;         ///< the request, as passed to submit
  std::int64_t res;  ///< bytes, or the mask of a poll, or 0; if negative, -errno
  std::int64_t res2;
};
static_assert(sizeof(io_event) == 32, "the kernel's layout");

/// Reads up to the buffer's size at `offset`; as pread(2).
[[nodiscard]] inline iocb prep_pread(int fd, void* buffer, std::size_t bytes, std::int64_t offset) noexcept {
  iocb made;
  made.lio_opcode = static_cast<std::uint16_t>(opcode::pread);
  made.fildes = fd;
  made.buf = reinterpret_cast<std::uintptr_t>(buffer);
  made.nbytes = bytes;
  made.offset = offset;
  return made;
}
[[nodiscard]] inline iocb prep_pread(int fd, std::span<std::byte> buffer, std::int64_t offset) noexcept {
  return prep_pread(fd, buffer.data(), buffer.size(), offset);
}

/// Writes the buffer at `offset`; as pwrite(2).
[[nodiscard]] inline iocb prep_pwrite(int fd, const void* buffer, std::size_t bytes, std::int64_t offset) noexcept {
  auto made = prep_pread(fd, nullptr, bytes, offset);
  made.lio_opcode = static_cast<std::uint16_t>(opcode::pwrite);
  made.buf = reinterpret_cast<std::uintptr_t>(buffer);
  return made;
}
[[nodiscard]] inline iocb prep_pwrite(int fd, std::span<const std::byte> buffer, std::int64_t offset) noexcept {
  return prep_pwrite(fd, buffer.data(), buffer.size(), offset);
}

/// As preadv(2) and pwritev(2). The iovecs, too, must stay valid until the event has come.
[[nodiscard]] inline iocb prep_preadv(int fd, std::span<const iovec> buffers, std::int64_t offset) noexcept {
  auto made = prep_pwrite(fd, buffers.data(), buffers.size(), offset);
  made.lio_opcode = static_cast<std::uint16_t>(opcode::preadv);
  return made;
}
[[nodiscard]] inline iocb prep_pwritev(int fd, std::span<const iovec> buffers, std::int64_t offset) noexcept {
  auto made = prep_preadv(fd, buffers, offset);
  made.lio_opcode = static_cast<std::uint16_t>(opcode::pwritev);
  return made;
}

/// As fsync(2) and fdatasync(2). Not ordered with other requests in flight.
[[nodiscard]] inline iocb prep_fsync(int fd) noexcept {
  iocb made;
  made.lio_opcode = static_cast<std::uint16_t>(opcode::fsync);
  made.fildes = fd;
  return made;
}
[[nodiscard]] inline iocb prep_fdsync(int fd) noexcept {
  auto made = prep_fsync(fd);
  made.lio_opcode = static_cast<std::uint16_t>(opcode::fdsync);
  return made;
}

/// Waits once for any of `events` (POLL*; POLLERR and POLLHUP always); the event's res is the mask of those that
/// occurred.
[[nodiscard]] inline iocb prep_poll(int fd, std::uint16_t events) noexcept {
  auto made = prep_fsync(fd);
  made.lio_opcode = static_cast<std::uint16_t>(opcode::poll);
  made.buf = events;
  return made;
}

}  // namespace doorbell::aio
