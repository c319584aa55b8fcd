// SPDX-License-Identifier: Apache-2.0
//
// aio::context: an AIO context, from io_setup(2) to io_destroy(2), without those system calls.
//
// Thread safety: all members except the destructor and the moves may be called concurrently.
// Lifetime: the object outlives the calls on it. Any thread may call destroy() at any time; calls that find the context
// destroyed fail with invalid_argument. In a fork's child, all calls on a context of the parent fail with
// invalid_argument; the child may make its own contexts.
// Memory ordering: a thread that gets an event, from get_events() or by the eventfd, sees everything that the
// submitting thread did before submit().
//
// Signal handlers: in a handler that has interrupted another call of the same thread, calls have no effect and fail
// with resource_unavailable_try_again (get_events() with interrupted). If the interrupted call sleeps in get_events(),
// all calls work. The destructor ends the program if destroy() would fail in this way.
//
// Each call that can fail has two forms: one throws std::system_error, the other sets or clears a std::error_code&.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <doorbell/aio_engine.hpp>
#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/export.hpp>
#include <doorbell/base/point_after.hpp>

namespace doorbell::aio {

class DOORBELL_EXPORT context {
 public:
  using clock = std::chrono::steady_clock;

  /// As io_setup(2).
  /// @param nr_events the minimum number of requests that may be in flight, 1 or more.
  /// Errors: invalid_argument (0, or more than a ring can hold; also if DOORBELL_ENGINE names no engine),
  /// resource_unavailable_try_again (more than the contexts of this process may have together: DOORBELL_AIO_MAX_NR,
  /// else /proc/sys/fs/aio-max-nr), not_enough_memory, too_many_files_open.
  explicit context(unsigned nr_events) : context{nr_events, engine_kind::automatic} {}
  context(unsigned nr_events, std::error_code& ec) noexcept : context{nr_events, engine_kind::automatic, ec} {}

  /// The same, with the engine `carried_by` instead of the process's default.
  /// Errors: also those of io_uring_setup(2), if io_uring is requested and refused.
  context(unsigned nr_events, engine_kind carried_by);
  context(unsigned nr_events, engine_kind carried_by, std::error_code& ec) noexcept;

  context(context&& other) noexcept
      : handle_{std::exchange(other.handle_, 0)}, serial_{std::exchange(other.serial_, 0)} {}
  context& operator=(context&& other) noexcept {
    context before{std::move(other)};
    std::swap(handle_, before.handle_);
    std::swap(serial_, before.serial_);
    return *this;
  }
  /// Destroys the context, unless destroy() has done so. Ends the program where destroy() would fail: in a callback,
  /// and in a signal handler that has interrupted another call.
  ~context();

  /// Starts requests, in order. Does not wait for them. A request is complete when its event can be fetched; its
  /// eventfd is signalled after that. The iocbs themselves may be destroyed when submit() returns.
  /// @return the number of requests taken: all, or those before the first that was refused. The error of a refused
  /// request is reported only if it is the first of a call.
  /// Errors: resource_unavailable_try_again if all slots are taken (a slot is free again when its event has been
  /// fetched); bad_file_descriptor (also for a closed eventfd); invalid_argument for a field that the operation does
  /// not allow; bad_address for a null iocb.
  /// Source: io_submit(2).
  std::size_t submit(std::span<iocb* const> iocbs);
  std::size_t submit(std::span<iocb* const> iocbs, std::error_code& ec) noexcept;
  std::size_t submit(std::initializer_list<iocb*> iocbs) { return submit(as_span(iocbs)); }
  std::size_t submit(std::initializer_list<iocb*> iocbs, std::error_code& ec) noexcept {
    return submit(as_span(iocbs), ec);
  }

  /// Carries out a read inline if it does not wait: a read of one buffer of 1 byte or more, from a file whose bytes are
  /// in the page cache. The read needs no slot and has no event. Does not wait for a disk, so callbacks may call it.
  /// @return the res that the event would have. No value if the read was not completed; a part of the buffer may have
  /// been filled. Then submit() gives the result.
  [[nodiscard]] std::optional<std::int64_t> read_inline(iocb& request) noexcept;

  /// Waits until at least `min` events are there, and fetches as many as are there and fit.
  /// @param timeout the maximum time to wait; without it, the call waits for ever; with 0, it does not wait.
  /// @return the events fetched, at the front of `events`. Fewer than `min` if the time is up, or if the context was
  /// destroyed or a signal handler ran after some events were fetched.
  /// Errors: invalid_argument (`min` above the size of `events`, or the context was destroyed); interrupted, if a
  /// signal handler ran before any event was fetched; resource_deadlock_would_occur, immediately, in a callback if the
  /// call may wait.
  /// Source: io_getevents(2).
  std::span<io_event> get_events(std::size_t min, std::span<io_event> events) { return get(min, events, std::nullopt); }
  std::span<io_event> get_events(std::size_t min, std::span<io_event> events, std::error_code& ec) noexcept {
    return get(min, events, std::nullopt, ec);
  }
  template <class Rep, class Period>
  std::span<io_event> get_events(std::size_t min, std::span<io_event> events,
                                 std::chrono::duration<Rep, Period> timeout) {
    return get(min, events, deadline_after(timeout));
  }
  template <class Rep, class Period>
  std::span<io_event> get_events(std::size_t min, std::span<io_event> events,
                                 std::chrono::duration<Rep, Period> timeout, std::error_code& ec) noexcept {
    return get(min, events, deadline_after(timeout), ec);
  }

  /// Asks for a request in flight to end early. The request still has its event, with -ECANCELED (a poll: 0), or with
  /// its result if it completed first. A request that the engine cannot stop, such as a read that the disk executes,
  /// completes normally.
  /// Errors: invalid_argument if no such request is in flight; resource_unavailable_try_again if the system has no
  /// memory for the cancellation now.
  /// Source: io_cancel(2), which returns EINPROGRESS where this succeeds.
  void cancel(iocb& request);
  void cancel(iocb& request, std::error_code& ec) noexcept;

  /// Cancels polls, and reads and writes that wait for a pipe, a socket or a terminal; carries out accepted file I/O.
  /// Waits for all requests: when it returns, no buffer is accessed any more. Wakes threads in get_events(). Signal
  /// handlers do not interrupt it.
  /// Errors: invalid_argument if the context is destroyed already (returned immediately, even while another thread is
  /// still destroying it); resource_deadlock_would_occur in a callback.
  /// Source: io_destroy(2).
  void destroy();
  void destroy(std::error_code& ec) noexcept;

  /// For event loops: a descriptor that is readable (POLLIN) while there are events that get_events(0, ...) would
  /// fetch; each completion is an edge for EPOLLET. If requests of the context signal eventfds, or if several threads
  /// use it, the descriptor may also become readable without an event. It does not announce requests that submit() has
  /// completed inline: call get_events(0, ...) after each submit(). The context owns the descriptor and closes it; the
  /// program may only wait for it. With such a loop, no other thread need wait for the completions of requests without
  /// an eventfd; the engine may still use threads to carry them out. If the program has called io_getevents(), requests
  /// of io_submit() that are in flight at the first call of descriptor() may be announced up to two seconds late.
  /// @return -1 with the error.
  /// Errors: invalid_argument if the context is destroyed; too_many_files_open.
  [[nodiscard]] int descriptor() const;
  [[nodiscard]] int descriptor(std::error_code& ec) const noexcept;

  /// The address of the ring, as io_setup(2) returns it, for functions that take a handle (aio_calls.hpp); 0 once
  /// destroyed. In a signal handler that has interrupted another call, a destroyed context still has its address.
  [[nodiscard]] unsigned long handle() const noexcept;
  /// The engine that carries out new requests: "io_uring" or "threads"; empty once destroyed, and in a signal handler
  /// that has interrupted another call. A context whose ring stops working changes to threads.
  [[nodiscard]] std::string_view engine() const noexcept;

 private:
  static std::span<iocb* const> as_span(std::initializer_list<iocb*> list) noexcept {
    return {list.begin(), list.size()};
  }
  template <class Rep, class Period>
  static std::optional<clock::time_point> deadline_after(std::chrono::duration<Rep, Period> timeout) noexcept {
    const auto ends = base::point_after(timeout);
    return ends == clock::time_point::max() ? std::nullopt : std::optional{ends};
  }
  std::span<io_event> get(std::size_t min, std::span<io_event> events, std::optional<clock::time_point> deadline);
  std::span<io_event> get(std::size_t min, std::span<io_event> events, std::optional<clock::time_point> deadline,
                          std::error_code& ec) noexcept;

  unsigned long handle_ = 0;
  std::uint64_t serial_ = 0;  // unlike the handle, never used again for another context
};

}  // namespace doorbell::aio
