// SPDX-License-Identifier: Apache-2.0
//
// sleeper: a thread asleep in a read or a write, as an entry on the wait queue.
//
// The *waker* carries out the operation, under the queue's lock, on behalf of the sleeping thread. The lock decides
// whether the operation was done. So if a wakeup and a timeout (or signal handler, or stop request) happen
// concurrently, no count is lost or taken twice: a thread that gives up and finds the operation done has not timed out.
// A sleeper that cannot use a wakeup leaves the count to the next one on the queue.
//
//   sleeper                              waker
//                                        lock; attempt() succeeds; remove(entry)
//   times out                            state |= done; futex_wake_one(&state); unlock
//   lock: not linked any more: done
//
// Lifetime: allocated and freed by the thread that sleeps. After the waker has set `done`, it does not touch the
// sleeper again, except that it passes the address to futex_wake_one().
//
// fork(2): in the child, only the sleepers of the forking thread (in a signal handler that interrupted them) have a
// thread. The others are removed from the queue and freed. They are on the heap for this reason: the child's own
// threads may reuse the stacks of the parent's threads.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <version>
#ifdef __cpp_lib_jthread
#include <stop_token>
#endif

#include <doorbell/base/futex.hpp>
#include <doorbell/base/process_generation.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

class eventfd_ctx::sleeper : public base::process_entry {
 public:
  /// Marks a sleeper as this thread's, from before it is on the queue until it is freed.
  class scope {
   public:
    explicit scope(sleeper& own) noexcept : outer_{std::exchange(innermost, this)}, own_{own} {}
    ~scope() { innermost = outer_; }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    friend class sleeper;

    // Initial-exec: doorbell is loaded with the program.
    static thread_local constinit scope* innermost __attribute__((tls_model("initial-exec")));

    scope* const outer_;  // of a read or write that a signal handler has interrupted
    sleeper& own_;
  };

  /// In a child of fork(2): the forking thread's sleepers stay valid.
  static void keep_own_in_child() noexcept;

  virtual ~sleeper() = default;

  /// Tries the operation; if it succeeds, wakes the waiters for the changed count. Lock held, as for take_locked().
  [[nodiscard]] virtual bool attempt() noexcept = 0;

 protected:
  sleeper(eventfd_ctx& ctx, unsigned waits_for) noexcept
      : process_entry{&sleeper::on_wake}, ctx_{ctx}, waits_for_{waits_for} {}

  eventfd_ctx& ctx_;

 private:
  friend class eventfd_ctx;

  static constexpr std::uint32_t done = 1;
  static constexpr std::uint32_t hung_up = 2;
  static constexpr std::uint32_t nudged = 4;  // the stop token has requested a stop

#ifdef __cpp_lib_jthread
  struct nudge {
    sleeper* to;
    void operator()() const noexcept { to->finish(nudged); }
  };
#endif

  static int on_wake(wait_entry& entry, unsigned events) noexcept;
  [[nodiscard]] bool begin_in_child() noexcept override;
  [[nodiscard]] bool is_of_this_thread() const noexcept;
  void finish(std::uint32_t how) noexcept;
  [[nodiscard]] std::error_code sleep(const wait_limit& limit) noexcept;
  [[nodiscard]] bool give_up_unless_finished() noexcept;
  [[nodiscard]] bool finished() const noexcept;
  [[nodiscard]] std::error_code outcome() const noexcept;

  std::uint32_t process_ = base::process_generation();  // the process that its thread is in
  const unsigned waits_for_;
  base::atomic<std::uint32_t> state_{0};
#ifdef __cpp_lib_jthread
  std::optional<std::stop_callback<nudge>> on_stop_;
#endif
};

}  // namespace doorbell
