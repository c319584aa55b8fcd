// SPDX-License-Identifier: Apache-2.0
//
// kernel_aio: carries out O_DIRECT transfers of files and block devices by a context of the kernel's own AIO. The
// kernel executes only these transfers asynchronously; all others would block io_submit(2). Containers that refuse
// io_uring usually allow io_setup(2).
//
// The first such request creates the kernel's context. It counts against fs.aio-max-nr as a context of the program
// itself would. io_destroy(2) takes tens of milliseconds, so a few small contexts are kept for the next kernel_aio
// instead of being destroyed. If there is no context, or if it is full, start() starts nothing, and the caller carries
// the requests out by other means. After the system has refused io_setup(2) or io_submit(2), no context is made.
//
// io_submit(2) takes a reference to the file, so the program may close it. The kernel completes each request by itself,
// also at the end of the process; none can be cancelled.
//
// A thread in wait() sleeps in io_pgetevents(2), but fetches nothing there: it passes an address outside of user space,
// so that the call fails with EFAULT once there is a completion, which stays in the ring. So a signal handler may leave
// the sleep by siglongjmp(3), or make any call meanwhile, and no completion is lost.
//
// wake() ends that sleep by io_cancel(2) of a poll, the alarm, which arm() has submitted for that purpose. io_cancel(2)
// needs no descriptor, so threads with another descriptor table may call wake(). The cancelled alarm must stay in the
// ring until the sleeper has seen it:
//
//   sleeper                              another thread, in take(), finds the alarm
//   begin_sleep(): has_sleeper_ = true   is_armed_ = false
//   announces its sleep                  has_sleeper_ ? -> leaves the alarm in the ring; is_armed_ = true
//   is_armed() ? no -> sleeps briefly                   otherwise it is used up; arm() submits another
//   checks for events once more
//   wait(); end_sleep()
//
//   legal:     the alarm stays, or the sleeper finds that no alarm is armed. If another has been armed meanwhile,
//              any wake() that had no effect came before the sleeper's second check, which finds the event of that
//              wake().
//   forbidden: the sleeper sleeps for long, and the alarm is used up. All accesses are seq_cst.
//
// A sleeper that never returns leaves an alarm in the ring; other threads fetch the completions around it.
//
// The kernel announces a completion by an eventfd: the engine's, or, for a request with kernel_may_signal, directly
// that of the program. Then no thread of the library runs between the kernel and the program, whose next call fetches
// the event. If no thread waits for the engine's eventfd, a completion need not be announced. If a completion does not
// signal the engine's eventfd, no descriptor announces it to the library's own sleepers (has_unnotified()).
//
// take() reads the ring that the kernel maps, as the users of libaio do.
//
// Thread safety: start(), wait(), wake() and the const members may be called concurrently with all others; wait(),
// wake() and carried_out() also in a signal handler that has interrupted any of them. One thread at a time calls arm()
// or take(). One thread at a time sleeps; a sleeper that never returns, or has been abandoned, does not count. Memory
// ordering: the thread that fetches a completion sees what the submitter did before; the kernel orders them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/futex.hpp>
#include <doorbell/base/mutex.hpp>

#include "../../request/request.hpp"

namespace doorbell::aio {

class kernel_aio {
 public:
  /// @param in_flight the maximum number of requests in flight.
  explicit kernel_aio(unsigned in_flight) noexcept;
  /// All requests must have been fetched.
  ~kernel_aio();
  kernel_aio(const kernel_aio&) = delete;
  kernel_aio& operator=(const kernel_aio&) = delete;

  /// Whether start() can ever take the request.
  [[nodiscard]] static bool can_take(const request& checked) noexcept { return checked.may_use_kernel_aio; }

  /// Starts the requests, up to the first that it cannot take, by one io_submit(2).
  /// @param notify_fd an eventfd, to which the kernel adds 1 for each completion of a request that does not signal the
  /// program's; -1: none.
  /// @return the number of started requests; the caller keeps the others.
  [[nodiscard]] std::size_t start(std::span<request* const> requests, int notify_fd) noexcept;

  /// Whether there are requests that have not been fetched.
  [[nodiscard]] bool has_requests() const noexcept { return in_flight_.load(base::memory_order_seq_cst) > 0; }
  /// Whether some of these requests do not signal the eventfd `notify_fd`. A thread that is about to sleep at that
  /// eventfd calls this after it has announced its sleep; the starter looks for such threads after start().
  [[nodiscard]] bool has_unnotified() const noexcept { return unnotified_.load(base::memory_order_seq_cst) > 0; }
  /// Whether the ring has an entry for take().
  [[nodiscard]] bool has_completions() const noexcept;
  /// The number of requests that the kernel has completed and take() has not fetched; may be lower while take() runs.
  [[nodiscard]] std::size_t carried_out() const noexcept;

  /// Fetches completions, without waiting and without a system call. @return the number of completions.
  [[nodiscard]] std::size_t take(std::span<completion> completions) noexcept;

  /// Makes wake() possible. @param pollable any eventfd. @return false: wake() will have no effect.
  bool arm(int pollable) noexcept;
  [[nodiscard]] bool is_armed() const noexcept { return is_armed_.load(base::memory_order_seq_cst); }

  /// Around a wait(), including the code by which its caller announces the sleep.
  void begin_sleep() noexcept { has_sleeper_.store(true, base::memory_order_seq_cst); }
  void end_sleep() noexcept {
    if (has_sleeper_.load(base::memory_order_relaxed)) has_sleeper_.store(false, base::memory_order_seq_cst);
  }
  /// The reason why a wait has ended.
  enum class woken_by { news, timeout, signal };
  /// Sleeps until there is something to take(), for at most `longest`, or until wake() is called.
  [[nodiscard]] woken_by wait(std::optional<std::chrono::nanoseconds> longest) const noexcept;
  void wake() noexcept;

  /// In a child of fork(2), which has none of its parent's contexts.
  void abandon_in_child() noexcept { context_.store(0, base::memory_order_relaxed); }
  /// The same, for the contexts that are kept for later.
  static void forget_spares_in_child() noexcept;

  static constexpr std::size_t batch = 64;
  /// The size of a context that can be kept for later.
  static constexpr unsigned usual_size = 128;

 private:
  using handle = std::uintptr_t;  // aio_context_t

  [[nodiscard]] handle context() noexcept;
  [[nodiscard]] bool is_used_up() noexcept;

  const unsigned wanted_;
  base::mutex creation_lock_;
  base::atomic<handle> context_{0};                                                         // 0: none
  bool is_spare_size_ DOORBELL_GUARDED_BY(creation_lock_) = false;                          // can be a spare
  std::chrono::steady_clock::time_point next_attempt_ DOORBELL_GUARDED_BY(creation_lock_);  // to create it
  base::atomic<std::uint32_t> in_flight_{0};
  base::atomic<std::uint32_t> unnotified_{0};  // of these, requests without an announcement

  iocb_abi alarm_;  // the poll that wake() cancels
  base::atomic<bool> is_armed_{false};
  base::atomic<bool> has_sleeper_{false};
  base::atomic<std::uint32_t> takes_{0};  // odd: a thread moves the head of the ring
};

}  // namespace doorbell::aio
