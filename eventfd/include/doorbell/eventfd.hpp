// SPDX-License-Identifier: Apache-2.0
//
// eventfd: a handle of a 64-bit counter for readers, writers and pollers: eventfd(2) without system calls.
//
// Lifetime: a handle corresponds to a file descriptor. A copy is a dup(2). When the last handle is closed or destroyed,
// all entries on the wait queue get POLLHUP.
// Thread safety: the const members may be called concurrently, on one handle or on copies of it. A handle itself is a
// value: closing, assigning or destroying it while another thread uses *that handle* is a race; give each thread its
// copy. A child of fork(2) has copies of its own (docs/eventfd.md, "fork").
//
// Each call that can fail has two forms: one throws std::system_error, the other sets or clears a std::error_code&. On
// a closed handle all of them fail with bad_file_descriptor.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <sys/eventfd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>
#include <version>
#ifdef __cpp_lib_jthread
#include <stop_token>
#endif

#include <doorbell/base/point_after.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

class DOORBELL_EXPORT eventfd {
 public:
  /// The largest count that a write can reach.
  static constexpr std::uint64_t max = UINT64_MAX - 1;

  /// As eventfd(2).
  /// @param initial the initial count.
  /// @param flags EFD_CLOEXEC (no effect: there is no descriptor), EFD_NONBLOCK, EFD_SEMAPHORE.
  /// Errors: invalid_argument for other flags, not_enough_memory.
  explicit eventfd(unsigned initial = 0, int flags = 0);
  /// As above; the handle is closed when `ec` is set.
  eventfd(unsigned initial, int flags, std::error_code& ec) noexcept;

  /// As dup(2); a copy of a closed handle is closed.
  eventfd(const eventfd& other) noexcept;
  eventfd(eventfd&& other) noexcept : ctx_{std::exchange(other.ctx_, nullptr)} {}
  eventfd& operator=(eventfd other) noexcept {
    std::swap(ctx_, other.ctx_);
    return *this;
  }
  ~eventfd();

  /// A closed handle. Does not allocate.
  [[nodiscard]] static eventfd closed() noexcept { return eventfd{no_context{}}; }

  /// Closes this handle. If it is the last one, POLLHUP is sent: notifiers' release functions run in this thread (in a
  /// callback: after the outermost callback's lock has been released). May sleep on the queue's lock.
  void close();
  void close(std::error_code& ec) noexcept;
  [[nodiscard]] bool is_open() const noexcept { return ctx_ != nullptr; }

  /// Adds `n`; see eventfd_ctx::signal. One atomic read-modify-write if there are no waiters. Never waits for room.
  void signal(std::uint64_t n = 1) const { checked().signal(n); }
  void signal(std::uint64_t n, std::error_code& ec) const noexcept {
    if (auto* ctx = checked(ec)) ctx->signal(n);
  }

  /// Returns the count and sets it to 0; for a semaphore, returns 1 and subtracts 1. At 0 it sleeps, or with
  /// EFD_NONBLOCK fails with resource_unavailable_try_again. Acquires what the signallers did before they signalled.
  /// Errors: interrupted (a signal handler ran: one without SA_RESTART, as with read(2)); resource_deadlock_would_occur
  /// in a callback, immediately and whatever the count (with EFD_NONBLOCK as eventfd_ctx::drain); not_enough_memory if
  /// it has to sleep.
  /// Source: read(2) on an eventfd.
  std::uint64_t read() const;
  std::uint64_t read(std::error_code& ec) const noexcept;

#ifdef __cpp_lib_jthread
  /// As above, until a stop is requested: then operation_canceled. A count above 0 is read even after the request.
  /// Declared only if the standard library has std::stop_token; libc++ 19 needs -fexperimental-library for it.
  std::uint64_t read(const std::stop_token& stop) const;
  std::uint64_t read(const std::stop_token& stop, std::error_code& ec) const noexcept;
#endif

  /// As above, but sleeps for at most `timeout`, then fails with timed_out. Any signal handler interrupts it, as with
  /// poll(2). EFD_NONBLOCK has no effect here. Every duration is legal: 0, negative values and NaN read a count above 0
  /// but do not wait; a duration beyond the clock's range, such as duration::max(), waits for ever.
  template <class Rep, class Period>
  std::uint64_t read_for(std::chrono::duration<Rep, Period> timeout) const {
    return read_until(base::point_after(timeout));
  }
  template <class Rep, class Period>
  std::uint64_t read_for(std::chrono::duration<Rep, Period> timeout, std::error_code& ec) const noexcept {
    return read_until(base::point_after(timeout), ec);
  }
  std::uint64_t read_until(std::chrono::steady_clock::time_point deadline) const;
  std::uint64_t read_until(std::chrono::steady_clock::time_point deadline, std::error_code& ec) const noexcept;

  /// Reads into a buffer, in the machine's byte order, as read(2) does.
  /// @param buffer of 8 bytes or more, else invalid_argument.
  /// @return 8, the bytes read; 0 when `ec` is set.
  std::size_t read(std::span<std::byte> buffer) const;
  std::size_t read(std::span<std::byte> buffer, std::error_code& ec) const noexcept;

  /// Adds `n`, at most `max`, else invalid_argument. If the sum would exceed `max`, it sleeps until the sum fits, or
  /// with EFD_NONBLOCK fails with resource_unavailable_try_again. Wakes with POLLIN, also if `n` is 0. Errors:
  /// interrupted, as read(); resource_deadlock_would_occur in a callback: of this eventfd if it would have to sleep, of
  /// another eventfd always (signal() is legal there); not_enough_memory if it has to sleep.
  /// Source: write(2) on an eventfd.
  void write(std::uint64_t n) const;
  void write(std::uint64_t n, std::error_code& ec) const noexcept;
#ifdef __cpp_lib_jthread
  /// As above, until a stop is requested: then operation_canceled. Declared only if read() with a token is.
  void write(std::uint64_t n, const std::stop_token& stop) const;
  void write(std::uint64_t n, const std::stop_token& stop, std::error_code& ec) const noexcept;
#endif
  /// As write(), but sleeps for at most `timeout`, then fails with timed_out. Otherwise as read_for().
  template <class Rep, class Period>
  void write_for(std::uint64_t n, std::chrono::duration<Rep, Period> timeout) const {
    write_until(n, base::point_after(timeout));
  }
  template <class Rep, class Period>
  void write_for(std::uint64_t n, std::chrono::duration<Rep, Period> timeout, std::error_code& ec) const noexcept {
    write_until(n, base::point_after(timeout), ec);
  }
  void write_until(std::uint64_t n, std::chrono::steady_clock::time_point deadline) const;
  void write_until(std::uint64_t n, std::chrono::steady_clock::time_point deadline, std::error_code& ec) const noexcept;

  /// Writes a number of 8 bytes in the machine's byte order, as write(2) does.
  /// @param buffer of exactly 8 bytes, else invalid_argument.
  /// @return 8, the bytes written; 0 when `ec` is set.
  std::size_t write(std::span<const std::byte> buffer) const;
  std::size_t write(std::span<const std::byte> buffer, std::error_code& ec) const noexcept;

  /// POLLIN, POLLOUT, POLLERR as from poll(2); POLLNVAL for a closed handle. Never blocks.
  [[nodiscard]] unsigned poll() const noexcept {
    return ctx_ != nullptr ? ctx_->poll() : static_cast<unsigned>(POLLNVAL);
  }

  /// A kernel descriptor that is readable exactly while the count is above 0, for loops that wait for descriptors. The
  /// first call creates it, and every call returns the same one. It is written only when the count leaves 0, and
  /// cleared when the count returns to 0, not for each signal. The eventfd owns it: wait for it, but do not read, write
  /// or close it. The last close of the eventfd closes it.
  /// @return the descriptor, -1 when `ec` is set.
  /// Errors: too_many_files_open (and ..._in_system), not_enough_memory; resource_deadlock_would_occur in a callback.
  int poll_fd() const;
  int poll_fd(std::error_code& ec) const noexcept;

  /// Moves every count that is signalled here into the kernel eventfd `fd`, until stop_forwarding() or the last close.
  /// The sum that is read from `fd` equals the sum that was signalled here. One write(2) moves the whole count if it
  /// fits (docs/eventfd.md describes systems without /proc). Closing `fd`, or using its number again, does not change
  /// the target. A count that does not fit into the kernel eventfd waits here. It moves when a later signal finds room,
  /// or, if the kernel eventfd is a blocking one, when that is read.
  /// A signal does not block on the kernel eventfd, whatever other threads and processes do with it: if it is a
  /// blocking one, a helper thread writes, and the signal waits for the helper for at most 250 ms.
  /// Errors: bad_file_descriptor; invalid_argument if `fd` is not an eventfd, or is a poll_fd();
  /// device_or_resource_busy when it forwards already; too_many_files_open, not_enough_memory;
  /// resource_deadlock_would_occur in a callback.
  void forward_to(int fd) const;
  void forward_to(int fd, std::error_code& ec) const noexcept;

  /// Creates an eventfd that forwards to `fd` from the beginning. Legal in a callback, since no other thread has it
  /// yet.
  /// @return a closed handle when `ec` is set. Errors: as the constructor's and forward_to()'s.
  [[nodiscard]] static eventfd forwarding_to(int fd);
  [[nodiscard]] static eventfd forwarding_to(int fd, std::error_code& ec) noexcept;

  /// After the return no count moves, unless a write to a full eventfd is blocked (docs/eventfd.md).
  /// Errors: no_such_file_or_directory when it does not forward; resource_deadlock_would_occur in a callback.
  void stop_forwarding() const;
  void stop_forwarding(std::error_code& ec) const noexcept;

  /// The contents of fdinfo, if this were a kernel eventfd.
  [[nodiscard]] eventfd_info info() const;
  [[nodiscard]] eventfd_info info(std::error_code& ec) const noexcept;

  /// The object that the handles share: a reference that keeps its memory, but does not keep the eventfd open. Null for
  /// a closed handle.
  [[nodiscard]] eventfd_ctx_ptr context() const noexcept { return eventfd_ctx_ptr{ctx_}; }
  /// The same without a reference: valid while this handle stays open.
  [[nodiscard]] eventfd_ctx* unreferenced_context() const noexcept { return ctx_; }

 private:
  struct no_context {};

  explicit eventfd(no_context /*none*/) noexcept {}

  [[nodiscard]] eventfd_ctx& checked() const {
    if (ctx_ == nullptr) [[unlikely]]
      throw_closed();
    return *ctx_;
  }
  [[nodiscard]] eventfd_ctx* checked(std::error_code& ec) const noexcept {
    if (ctx_ != nullptr) [[likely]]
      ec.clear();
    else
      ec = std::make_error_code(std::errc::bad_file_descriptor);
    return ctx_;
  }
  [[noreturn]] static void throw_closed();

  eventfd_ctx* ctx_ = nullptr;
};

}  // namespace doorbell
