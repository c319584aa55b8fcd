// SPDX-License-Identifier: Apache-2.0
//
// sleeper: a thread asleep in a read or a write, as an entry on the wait queue, on its own stack.
//
// The operation is carried out *by the waker*, under the queue's lock, in the sleeper's name. So a wake and a timeout (or
// signal handler, or stop request) at once cannot lose or double anything: whether the operation was done is one fact,
// decided under the lock; a sleeper that gives up and finds it done has not timed out. And a sleeper that could not use
// the wake leaves it to the next one on the queue.
//
//   sleeper                              waker
//                                        lock; attempt() succeeds; remove(entry)
//   times out                            state |= done; futex_wake_one(&state); unlock
//   lock: not linked any more: done
//
// Lifetime: once `done` is set the waker does not touch the sleeper again, except for the address that futex_wake_one is
// given; the sleeper may return and its stack be used for something else.
#pragma once

#include <cstdint>

#include <doorbell/base/futex.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

class eventfd_ctx::sleeper : public base::wait_entry {
 public:
  /// Tries the operation. Lock held.
  [[nodiscard]] virtual bool attempt() noexcept = 0;
  /// What others may wait for, once it has succeeded.
  [[nodiscard]] unsigned announces() const noexcept { return announces_; }

 protected:
  sleeper(eventfd_ctx& ctx, unsigned waits_for, unsigned announces) noexcept
      : wait_entry{&sleeper::on_wake}, ctx_{ctx}, waits_for_{waits_for}, announces_{announces} {}
  ~sleeper() = default;

  eventfd_ctx& ctx_;

 private:
  friend class eventfd_ctx;

  static constexpr std::uint32_t done = 1;
  static constexpr std::uint32_t hung_up = 2;
  static constexpr std::uint32_t nudged = 4;  // look at the stop token

  static int on_wake(wait_entry& entry, unsigned events) noexcept;
  void finish(std::uint32_t how) noexcept;
  [[nodiscard]] std::error_code sleep(const wait_limit& limit) noexcept;
  [[nodiscard]] bool give_up_unless_finished() noexcept;
  [[nodiscard]] bool finished() const noexcept;
  [[nodiscard]] std::error_code outcome() const noexcept;

  const unsigned waits_for_;
  const unsigned announces_;
  base::atomic<std::uint32_t> state_{0};
};

}  // namespace doorbell
