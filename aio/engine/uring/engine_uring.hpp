// SPDX-License-Identifier: Apache-2.0
//
// engine_uring: requests carried out by io_uring. Linux 5.10 and later; newer features are probed.
//
// A ring may stop working: a sandbox forbids io_uring_enter(2), or the program closes the ring's descriptor, of which
// the program does not know, and reuses the number. After the first such error, the engine no longer enters the kernel
// for this ring (works() is false), and start() starts nothing. The requests that the kernel has already taken are
// carried out, because the mapping of the queues keeps the ring alive, and reap() finds their completions in the memory
// of the queue.
//
//   sleeper in the ring                  thread that must wake the sleeper
//                                        wake(): enters the kernel, EBADF
//   sleeps for at most longest_sleep
//   wakes, checks for events
//
//   legal:     the sleeper checks after longest_sleep at the latest.
//   forbidden: the sleeper sleeps until there is a completion, although its context has another event. Without the
//              descriptor no other thread can wake the sleeper, so no sleep in a ring is longer.
//
// The reads of eventfds (watch()) and the announcements (announce()) are described where they are implemented:
// engine_uring_watch.cpp and engine_uring_announce.cpp.
//
// Locks: submission_lock_ and completion_lock_ are leaves, each for one of the two queues. Neither is held while the
// other one is taken, nor while other doorbell functions are called.
#pragma once

#include <liburing.h>

#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/private_fd.hpp>

#include "../engine.hpp"
#include "../engine_names.hpp"
#include "uring_answer.hpp"

namespace doorbell::aio {

class engine_uring final : public engine {
 public:
  /// Creates a ring, and checks that the process may enter the kernel for it.
  /// @param in_flight the maximum number of requests in flight.
  /// Errors: those of io_uring_setup(2) and io_uring_enter(2).
  static std::unique_ptr<engine_uring> make(unsigned in_flight, std::error_code& ec) noexcept;
  ~engine_uring() override;

  [[nodiscard]] std::string_view name() const noexcept override { return names_of(engine_kind::io_uring).name; }
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] bool takes_many_by_one_call() const noexcept override { return true; }
  [[nodiscard]] cancel_result cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  [[nodiscard]] file_io file_io_done() const noexcept override;
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override;
  void announce() noexcept override;
  void give_up() noexcept override;
  using engine::become_part_of;

  /// @return false after the first system call that showed that the ring cannot be used any more.
  [[nodiscard]] bool works() const noexcept {
    return condition_.load(base::memory_order_relaxed) == uring_answer::done && !descriptor_.is_superseded();
  }
  /// Records whether the waiting thread sleeps in another part of the engine that this ring belongs to
  /// (engine_failover), whose wake() wakes it there, too: so wakeups in this ring are not for it. The thread calls this
  /// before and after that sleep.
  void note_sleeper_elsewhere(bool is_elsewhere) noexcept {
    sleeper_is_elsewhere_.store(is_elsewhere, base::memory_order_seq_cst);
  }
  /// @return whether the ring has requests that have not been reaped.
  [[nodiscard]] bool has_requests() const noexcept;

  /// Submits one read of an eventfd: the next count wakes a thread in wait(), and is an edge of descriptor().
  /// @param serial differs from that of each other eventfd that this ring reads.
  /// @return true: such a read is in the ring, this one or an earlier one. Also true if the eventfd's slot still has
  /// the read of a much older eventfd, and this call has cancelled that read: its end is an edge, after which watch()
  /// is called again. false: the ring takes no entry now.
  [[nodiscard]] bool watch(int eventfd, std::uint32_t serial) noexcept;
  /// Submits reads of the eventfds that the ring keeps and does not read, except the newest, which watch() reads.
  void watch_kept(std::uint32_t newest) noexcept;
  /// Whether watch_kept() would submit no read.
  [[nodiscard]] bool is_watching_kept(std::uint32_t newest) const noexcept {
    return (kept_.load(base::memory_order_acquire) & ~reading_.load(base::memory_order_acquire) & ~bit_of(newest)) == 0;
  }
  /// @return whether a read of this eventfd is in the ring.
  [[nodiscard]] bool has_watch(std::uint32_t serial) noexcept;
  /// The same without a lock. May be true while watch() runs, although the ring then takes no entry.
  [[nodiscard]] bool is_watching(std::uint32_t serial) const noexcept {
    return watched_serial_.load(base::memory_order_acquire) == serial &&
           (reading_.load(base::memory_order_acquire) & bit_of(serial)) != 0;
  }

 private:
  static constexpr std::uint32_t slots = 8;
  enum class announcement : std::uint8_t {
    none,
    making,  ///< the lock's holder submits it
    made,    ///< in the ring
    owed     ///< the reaper's thread has taken it, or the ring has refused it
  };

  engine_uring() = default;

  [[nodiscard]] bool submit_read(io_uring_sqe* entry, std::uint32_t serial) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  void keep(int eventfd, std::uint32_t serial) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] bool make_file_table() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] bool cancel_read(std::uint32_t serial) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  void end_read(std::uint32_t slot, int res) noexcept;

  /// The bit of an eventfd's slot in reading_.
  [[nodiscard]] static constexpr std::uint32_t bit_of(std::uint32_t serial) noexcept { return 1U << serial % slots; }

  /// Records what the result of a system call says about the ring. @return its class.
  uring_answer note(int answer) noexcept;
  [[nodiscard]] io_uring_sqe* next_entry() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] bool submit(io_uring_sqe* entry) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] bool try_wake() noexcept;
  [[nodiscard]] unsigned flush() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] std::size_t start_some(std::span<request* const> requests) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] unsigned reap_some(std::span<completion> completions, std::size_t& filled) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] bool take_announcement(unsigned behind) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);
  [[nodiscard]] bool try_announce() noexcept;
  void announce_again() noexcept;
  [[nodiscard]] bool has_completions() const noexcept;
  [[nodiscard]] bool is_announced() const noexcept {
    const auto now = announcement_.load(base::memory_order_seq_cst);
    return now == announcement::making || now == announcement::made;
  }
  [[nodiscard]] bool owes_announcement() const noexcept {
    return announcement_.load(base::memory_order_seq_cst) == announcement::owed;
  }
  [[nodiscard]] int sleep(base::deadline until, const sigset_t* mask) noexcept;
  [[nodiscard]] int sleep_on(base::deadline until) noexcept;
  void tear_down() noexcept;

  base::private_fd descriptor_;  // the ring's; liburing has only the number
  io_uring ring_{};              // the two queues are guarded by the two locks; the descriptor is constant
  mutable base::atomic<uring_answer> condition_{uring_answer::done};  // done until the ring fails
  base::atomic<std::uint32_t> reading_{0};         // the slots whose reads are in the ring, or about to be
  base::atomic<std::uint32_t> kept_{0};            // the slots whose eventfds the ring keeps
  base::atomic<std::uint32_t> watched_serial_{0};  // of the eventfd that was watched last
  base::atomic<announcement> announcement_{announcement::none};
  base::atomic<bool> sleeper_is_elsewhere_{false};
  std::uint64_t watched_count_ = 0;  // written by the kernel
  base::mutex submission_lock_;
  bool has_tried_file_table_ DOORBELL_GUARDED_BY(submission_lock_) = false;
  bool has_file_table_ DOORBELL_GUARDED_BY(submission_lock_) = false;
  base::mutex completion_lock_;
};

}  // namespace doorbell::aio
