// SPDX-License-Identifier: Apache-2.0
//
// forwarder: an entry on the wait queue that moves counts into a kernel eventfd of the program.
//
// The kernel eventfd is written without the doorbell eventfd's lock, so a write that blocks delays no other thread. A
// count is in the doorbell eventfd, or in flight, or in the kernel eventfd, and never in two of these places:
//
//   signaller                            others
//   lock; adds 5; the walk claims it:
//     count 0, in flight 5; unlock
//                                        drain: 0. signal(2): claims 2 of its own, and writes it itself
//   write(5)
//   lock; in flight 0; unlock
//
//   legal:     it does not fit: lock; in flight 0, count + 5; wakes waiters for a count, except notifiers, which have
//              been called for the signal; unlock. The count waits here for a later signal or forward_waiting().
//   forbidden: the count in flight does not fit back, because other threads have added as much. So room is kept for it
//              until it has arrived: write() and signal() include it in the sum (room_locked()).
//   forbidden: two threads write the same count. Only the thread that has claimed it writes it, and a claim leaves 0.
//
// When signal() returns, its count is in the kernel eventfd, if there is room. If the write may block
// (kernel_eventfd.hpp), a helper thread makes it, and the signaller waits for the helper for at most `patience`. If
// another process fills the eventfd in that moment, the count arrives after a read of the eventfd.
//
//   signaller                            helper                          other process
//   hands 5 over; waits
//                                        there is room
//                                                                        fills the eventfd
//                                        write(5) blocks, without a lock
//   `patience` has passed: returns
//   others hand over, and do not wait
//                                                                        reads
//                                        5 is added; settles; goes on with the others' counts
//
// Lifetime: counted. The attachments hold one reference until stop_forwarding() or the last close; each thread that
// moves or waits holds one, and each holder also has a reference to the eventfd_ctx.
#pragma once

#include <cstdint>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/kref.hpp>
#include <doorbell/eventfd_ctx.hpp>

#include "file_entry.hpp"
#include "forward_helper.hpp"
#include "kernel_eventfd.hpp"

namespace doorbell {

class eventfd_ctx::forwarder final : public file_entry, private forward_helper::job {
 public:
  explicit forwarder(eventfd_ctx& ctx) noexcept : file_entry{ctx, &on_wake} {}

  [[nodiscard]] bool open(int fd, std::error_code& ec) noexcept { return target_.open(fd, ec); }
  [[nodiscard]] const base::private_fd& descriptor() const noexcept { return target_.descriptor(); }

  /// Puts the count in flight. Lock held, as for take_locked().
  /// @return the amount; if it is not 0, the caller calls move() after it has released the lock.
  [[nodiscard]] std::uint64_t claim() noexcept;
  /// Writes a claimed count, or passes it to a helper thread. Lock not held; the caller has a reference to the
  /// forwarder and one to the eventfd_ctx.
  void move(std::uint64_t claimed) noexcept;
  /// Writes a number that was not added to the count: as much as fits without blocking. Lock not held.
  /// @return the amount written.
  [[nodiscard]] std::uint64_t add(std::uint64_t n) noexcept { return target_.add_unless_blocking(n).added; }
  /// Waits until nothing is in flight, for at most 250 ms. Lock not held.
  void wait_until_arrived() noexcept;
  /// Whether a helper thread has counts that may come back. Lock held.
  [[nodiscard]] bool is_helper_moving() const noexcept { return with_helper_ > 0; }

  void get() noexcept { references_.get(); }
  void put() noexcept {
    if (references_.put()) delete this;
  }

 private:
  ~forwarder() = default;

  [[nodiscard]] bool begin_in_child() noexcept override;
  static int on_wake(wait_entry& entry, unsigned events) noexcept;
  void move_later(std::uint64_t claimed) noexcept;
  struct settlement {
    std::uint64_t claimed;
    std::uint64_t moved;
  };
  void settle(settlement of) noexcept;
  void settle_locked(settlement of) noexcept;
  void hand_to_helper(std::uint64_t claimed) noexcept;
  enum class helper { may_wait, must_return };
  void serve() noexcept override;
  void serve_as(helper who) noexcept;
  [[nodiscard]] bool has_more(helper who, std::uint64_t& claimed, std::uint32_t& up_to_handover) noexcept;
  void wait_for_room() noexcept;
  void claim_for_helper() noexcept;
  void move_by_helper(std::uint64_t claimed, std::uint32_t up_to_handover) noexcept;
  template <class Condition>
  [[nodiscard]] bool wait_until(Condition is_true) noexcept;

  kernel_eventfd target_;
  base::kref references_;

  // Guarded by the eventfd's lock:
  std::uint64_t in_flight_ = 0;
  std::uint64_t with_helper_ = 0;  // the part of in_flight_ that the helper has
  std::uint64_t handed_over_ = 0;  // the part of with_helper_ that the helper has not begun to write
  std::uint32_t handovers_ = 0;    // the number of calls of hand_to_helper()
  std::uint32_t settled_ = 0;      // how many of them are settled
  bool is_helped_ = false;         // posted to the helper, until the helper has found nothing more to do
  bool is_stuck_ = false;          // a signaller has waited for the helper without success
  bool is_full_ = false;           // the last write did not fit
  bool is_awaited_ = false;        // a thread sleeps on settlements_

  base::atomic<std::uint32_t> settlements_{0};  // changes under the lock; threads sleep on it without the lock
};

}  // namespace doorbell
