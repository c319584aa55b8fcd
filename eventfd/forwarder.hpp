// SPDX-License-Identifier: Apache-2.0
//
// forwarder: an entry on the wait queue that moves counts into a kernel eventfd that the program made.
//
// The write over there is made without the eventfd's lock, so that a write that blocks holds up no other thread. A
// count is here, or in flight, or over there, and never in two of these places:
//
//   signaller                            others
//   lock; adds 5; the walk claims it:
//     count 0, in flight 5; unlock
//                                        drain: 0. signal(2): claims 2 of its own, and writes it itself
//   write(5)
//   lock; in flight 0; unlock
//
//   does not fit: lock; in flight 0, count + 5; those who wait for a count are told, except notifiers: they have been
//   told
//              of the signal; unlock. The count waits here for a later signal or for forward_waiting().
//   forbidden: what is in flight does not fit back, because others have added as much here. So it takes up room here
//              until it has arrived: write() and signal() see the sum (room_locked()).
//   forbidden: two threads write the same count. Only the thread that has claimed it writes it, and a claim leaves 0.
//
// A signal() that has returned is over there, if there is room. Where the write may block (kernel_eventfd.hpp) a helper
// thread makes it, and the signaller waits for that, but not longer than `patience`: if another process fills the
// eventfd just then, the count arrives when that is read.
//
//   signaller                            helper                          other process
//   hands 5 over; waits
//                                        there is room
//                                                                        fills the eventfd
//                                        write(5) blocks, without a lock
//   patience is over: returns
//   others hand over, and do not wait
//                                                                        reads
//                                        5 is added; settles; goes on with what the others left
//
// Lifetime: counted; one reference of the attachments, until stop_forwarding() or the last close, and one of each
// thread that moves or waits. Each of these has a reference of the eventfd_ctx, too.
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

  /// Puts what is there in flight. Lock held, as for take_locked().
  /// @return how much; the caller then calls move(), without the lock.
  [[nodiscard]] std::uint64_t claim() noexcept;
  /// Writes what was claimed, or has it written. Without the lock; the caller has references to both.
  void move(std::uint64_t claimed) noexcept;
  /// Writes what never was a count here, as much as fits and cannot block. Without the lock.
  /// @return how much.
  [[nodiscard]] std::uint64_t add(std::uint64_t n) noexcept { return target_.add_unless_blocking(n).added; }
  /// Waits until nothing is in flight, but not for long. Without the lock.
  void wait_until_arrived() noexcept;
  /// Whether a helper thread has counts that may come back. Lock held.
  [[nodiscard]] bool is_helper_moving() const noexcept { return helpers_ > 0; }

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
  void hand_over(std::uint64_t claimed) noexcept;
  enum class helper { may_wait, must_return };
  void serve() noexcept override;
  void serve_as(helper who) noexcept;
  [[nodiscard]] bool has_more(helper who, std::uint64_t& claimed, std::uint32_t& with) noexcept;
  void wait_for_room() noexcept;
  void claim_for_helper() noexcept;
  void move_by_helper(std::uint64_t claimed, std::uint32_t with) noexcept;
  template <class Condition>
  [[nodiscard]] bool wait_until(Condition is_true) noexcept;

  kernel_eventfd target_;
  base::kref references_;

  // Guarded by the eventfd's lock:
  std::uint64_t in_flight_ = 0;
  std::uint64_t helpers_ = 0;      // of that, what the helper has
  std::uint64_t handed_over_ = 0;  // of that, what it has not begun with
  std::uint32_t hand_overs_ = 0;   // their number, and how many of them are settled
  std::uint32_t settled_ = 0;
  bool is_helped_ = false;   // posted to the helper, until that has found nothing more
  bool is_stuck_ = false;    // a signaller has waited for the helper in vain
  bool is_full_ = false;     // the last write did not fit
  bool is_awaited_ = false;  // a thread sleeps on settlements_

  base::atomic<std::uint32_t> settlements_{0};  // changes under the lock; slept on without
};

}  // namespace doorbell
