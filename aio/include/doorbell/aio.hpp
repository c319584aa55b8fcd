// SPDX-License-Identifier: Apache-2.0
//
// aio::context: an AIO context, io_setup(2) to io_destroy(2), without those system calls.
//
// Thread safety: all members but the destructor and the moves may be called at once. Lifetime: the object outlives the
// calls on it; destroy() may come at any time from any thread, and calls that find it destroyed fail with
// invalid_argument. So do they all in a fork's child: its parent's contexts are not its own; it may make some.
// Memory ordering: what was done before submit() is seen by whoever gets the event, by io_getevents or by the eventfd.
//
// Signal handlers: where one has interrupted another call of the same thread, calls fail with
// resource_unavailable_try_again, get_events() with interrupted, and have no effect; but all work where that call sleeps in
// get_events(). The destructor ends the program where destroy() would fail so.
//
// Each call that can fail comes twice: throwing std::system_error, and with a std::error_code& that is set or cleared.
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
  /// @param nr_events how many requests may be in flight at least, 1 or more.
  /// Errors: invalid_argument (0, or more than a ring can hold), resource_unavailable_try_again (more than this process's
  /// contexts may have together: DOORBELL_AIO_MAX_NR, else /proc/sys/fs/aio-max-nr), not_enough_memory,
  /// too_many_files_open; invalid_argument, too, when DOORBELL_ENGINE names no engine.
  explicit context(unsigned nr_events) : context{nr_events, engine_kind::automatic} {}
  context(unsigned nr_events, std::error_code& ec) noexcept : context{nr_events, engine_kind::automatic, ec} {}

  /// The same, carried by that engine whatever the process's is.
  /// Errors: besides, what io_uring_setup(2) says where io_uring is asked for and refused.
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
  /// Destroys, if that has not been done.
  ~context();

  /// Starts requests, in order. Does not wait for them; each is complete when its event can be got, and its eventfd is
  /// signalled after that. The iocbs themselves may go when it returns.
  /// @return how many were taken: all, or those before the first that could not be; that one's error comes when it is the
  /// first of a call.
  /// Errors: resource_unavailable_try_again when all slots are taken (a slot is free again when its event has been got);
  /// bad_file_descriptor (also for a closed eventfd); invalid_argument for what the request's operation does not allow;
  /// bad_address for a null iocb.
  /// Source: io_submit(2).
  std::size_t submit(std::span<iocb* const> iocbs);
  std::size_t submit(std::span<iocb* const> iocbs, std::error_code& ec) noexcept;
  std::size_t submit(std::initializer_list<iocb*> iocbs) { return submit(as_span(iocbs)); }
  std::size_t submit(std::initializer_list<iocb*> iocbs, std::error_code& ec) noexcept {
    return submit(as_span(iocbs), ec);
  }

  /// Carries out a read now, if that does not wait: of one buffer of 1 byte or
  /// more, from a file whose bytes are in memory. No event follows, and none is
  /// needed: it takes no slot. Does not wait for a disk, so callbacks may call
  /// it.
  /// @return the res that its event would have; nothing when it has had no
  /// effect, and submit() should find the answer.
  [[nodiscard]] std::optional<std::int64_t> read_inline(iocb& request) noexcept;

  /// Waits until at least `min` events have come, and gets as many as are there and fit.
  /// @param timeout how long to wait at most; without it, for ever; 0 does not wait.
  /// @return those got, at the front of `events`: fewer than `min` when the time is up, or when the context was destroyed or
  /// a signal handler ran with some in hand.
  /// Errors: invalid_argument (`min` above the size of `events`, context destroyed), interrupted by a signal handler with
  /// none in hand; resource_deadlock_would_occur, at once, when it may wait and is called in a callback.
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

  /// Asks for a request in flight to end early. It still has its event, with -ECANCELED (a poll: 0), or with its result
  /// when it was quicker; what the engine cannot stop, such as a read the disk is at, runs to its end.
  /// Errors: invalid_argument when no such request is in flight; resource_unavailable_try_again when the system has no
  /// memory for it just now.
  /// Source: io_cancel(2), which says EINPROGRESS where this succeeds.
  void cancel(iocb& request);
  void cancel(iocb& request, std::error_code& ec) noexcept;

  /// Cancels what is in flight, and waits for all of it: when it returns no buffer is touched any more. Threads in
  /// get_events() wake. Not interrupted by signal handlers.
  /// Errors: invalid_argument when it is destroyed already (at once, also while another thread is still at it);
  /// resource_deadlock_would_occur in a callback.
  /// Source: io_destroy(2).
  void destroy();
  void destroy(std::error_code& ec) noexcept;

  /// For event loops: a descriptor that is readable (POLLIN) while there are completions that get_events(0, ...) would fetch
  /// from the engine; each is an edge for EPOLLET. What submit has answered itself it does not tell of: look after each submit.
  /// It is the context's, which closes it; only ever wait for it. A loop that does, and requests without an eventfd, need no
  /// thread besides the loop's own.
  /// @return -1 with the error: invalid_argument once destroyed, too_many_files_open.
  [[nodiscard]] int descriptor(std::error_code& ec) const noexcept;

  /// The address of the ring, as io_setup(2) gives it, for what takes a handle (aio_calls.hpp); 0 once destroyed.
  [[nodiscard]] unsigned long handle() const noexcept;
  /// The engine that new requests go to: "io_uring" or "threads"; empty once destroyed. A context whose ring stops working
  /// changes to threads.
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
  std::uint64_t serial_ = 0;  // a handle may be used again for another context; this is not
};

}  // namespace doorbell::aio
