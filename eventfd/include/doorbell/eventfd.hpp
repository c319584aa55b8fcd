// SPDX-License-Identifier: Apache-2.0
//
// eventfd: a handle on a 64-bit counter that readers, writers and pollers wait on; eventfd(2) without the system calls.
//
// Lifetime: a handle is what a file descriptor is in the kernel. Copies are dup(2)s; when the last is closed or destroyed,
// everybody on the wait queue gets POLLHUP.
// Thread safety: the const members may be called at once, on one handle or on copies of it. A handle itself is a value:
// closing, assigning or destroying it while another thread uses *that handle* is a race; give each thread its copy.
// A child of fork(2) has copies of its own (docs/eventfd.md, "fork").
//
// Each call that can fail comes twice: throwing std::system_error, and with a std::error_code& that is set or cleared. On
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
  /// @param initial the first count.
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

  /// A closed handle. Allocates nothing.
  [[nodiscard]] static eventfd closed() noexcept { return eventfd{no_context{}}; }

  /// Closes this handle. The last one sends POLLHUP: notifiers' release functions run in this thread (in a callback:
  /// when the outermost callback's lock is let go). May sleep on the queue's lock.
  void close();
  void close(std::error_code& ec) noexcept;
  [[nodiscard]] bool is_open() const noexcept { return ctx_ != nullptr; }

  /// Adds `n`; see eventfd_ctx::signal. One atomic read-modify-write when nobody waits. Never sleeps for room.
  void signal(std::uint64_t n = 1) const { checked().signal(n); }
  void signal(std::uint64_t n, std::error_code& ec) const noexcept {
    if (auto* ctx = checked(ec)) ctx->signal(n);
  }

  /// Returns the count and makes it 0; of a semaphore, returns 1 and takes 1. At 0 it sleeps, or with EFD_NONBLOCK fails
  /// with resource_unavailable_try_again. Acquires what the signallers did before they signalled.
  /// Errors: interrupted (a signal handler ran: one without SA_RESTART, as with read(2)); resource_deadlock_would_occur,
  /// at once and whatever the count, in a callback (unless EFD_NONBLOCK: then as eventfd_ctx::drain);
  /// not_enough_memory, where it has to sleep.
  /// Source: read(2) on an eventfd.
  std::uint64_t read() const;
  std::uint64_t read(std::error_code& ec) const noexcept;

#ifdef __cpp_lib_jthread
  /// As above, until the token is asked to stop: then operation_canceled. A count that is there is read all the same.
  /// Declared only if the standard library has std::stop_token; libc++ 19 needs -fexperimental-library for it.
  std::uint64_t read(const std::stop_token& stop) const;
  std::uint64_t read(const std::stop_token& stop, std::error_code& ec) const noexcept;
#endif

  /// As above, for at most so long: then timed_out. Any signal handler interrupts it, as with poll(2). EFD_NONBLOCK counts
  /// for nothing here. Every duration is legal: one of 0 or less, or that is no number, takes what is there and does
  /// not wait; one that the clock cannot count, such as duration::max(), waits for ever.
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

  /// Adds `n`, at most `max`, else invalid_argument. When the sum would exceed `max` it sleeps until it fits, or with
  /// EFD_NONBLOCK fails with resource_unavailable_try_again. Wakes with POLLIN, also when `n` is 0. Sleeping is interrupted
  /// as in read(). In a callback of this eventfd, where it would sleep, it fails with resource_deadlock_would_occur; in one of
  /// another eventfd it always does (signal() does not). Where it has to sleep, it may fail with not_enough_memory.
  /// Source: write(2) on an eventfd.
  void write(std::uint64_t n) const;
  void write(std::uint64_t n, std::error_code& ec) const noexcept;
#ifdef __cpp_lib_jthread
  /// As above, until the token is asked to stop: then operation_canceled. Declared only if read() with a token is.
  void write(std::uint64_t n, const std::stop_token& stop) const;
  void write(std::uint64_t n, const std::stop_token& stop, std::error_code& ec) const noexcept;
#endif
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

  /// POLLIN, POLLOUT, POLLERR as poll(2) would tell; POLLNVAL of a closed handle. Never blocks.
  [[nodiscard]] unsigned poll() const noexcept {
    return ctx_ != nullptr ? ctx_->poll() : static_cast<unsigned>(POLLNVAL);
  }

  /// A kernel descriptor that is readable exactly while the count is above 0, for loops that wait for descriptors. Made on
  /// the first call, the same one at each; written when the count leaves 0 and cleared when it comes back to it, not once a
  /// signal. It is lent: wait for it, but neither read, write nor close it; it is closed when the last handle is.
  /// @return the descriptor, -1 when `ec` is set.
  /// Errors: too_many_files_open (and ..._in_system), not_enough_memory; resource_deadlock_would_occur in a callback.
  int poll_fd() const;
  int poll_fd(std::error_code& ec) const noexcept;

  /// Moves every count that is signalled here into the kernel eventfd `fd`, until stop_forwarding() or the last close: what
  /// is read there adds up to what was signalled here, one write(2) for one wake (see docs/eventfd.md for systems without
  /// /proc). It stays the same eventfd though `fd` be closed or its number used again. What does not fit over there waits
  /// here, and moves with a later signal at the latest. A signal does not block on the kernel eventfd, whatever other
  /// threads and processes do with it; for a blocking one a helper thread writes, and a signal waits for that 250 ms at
  /// most.
  /// Errors: bad_file_descriptor; invalid_argument for what is not an eventfd, or is a poll_fd();
  /// device_or_resource_busy when it forwards already; too_many_files_open, not_enough_memory;
  /// resource_deadlock_would_occur in a callback.
  void forward_to(int fd) const;
  void forward_to(int fd, std::error_code& ec) const noexcept;

  /// A new one that forwards to `fd` from its beginning. Legal in a callback, too: nobody else has it yet.
  /// @return a closed handle when `ec` is set. Errors: as the constructor's and forward_to()'s.
  [[nodiscard]] static eventfd forwarding_to(int fd);
  [[nodiscard]] static eventfd forwarding_to(int fd, std::error_code& ec) noexcept;

  /// When it returns, no count moves any more, unless a write to a full eventfd is blocked (docs/eventfd.md).
  /// Errors: no_such_file_or_directory when it does not forward; resource_deadlock_would_occur in a callback.
  void stop_forwarding() const;
  void stop_forwarding(std::error_code& ec) const noexcept;

  /// What fdinfo would show.
  [[nodiscard]] eventfd_info info() const;
  [[nodiscard]] eventfd_info info(std::error_code& ec) const noexcept;

  /// What this handle is a handle of: a reference that keeps the memory, not the file. Null for a closed handle.
  [[nodiscard]] eventfd_ctx_ptr context() const noexcept { return eventfd_ctx_ptr{ctx_}; }
  /// The same without a reference: for as long as this handle stays open.
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
