// SPDX-License-Identifier: Apache-2.0
//
// sleeper: a thread asleep in a read or a write, as an entry on the wait queue.
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
// Lifetime: made on the heap and freed by the thread that sleeps. Once `done` is set the waker does not touch the
// sleeper again, except for the address that futex_wake_one is given.
//
// fork(2): in the child, of all sleepers only the one of the forking thread has a thread (a signal handler has
// interrupted it, and forks). The others are taken off the queue and freed; on the stacks of their threads, where they
// would otherwise be, the child's own threads run.
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
  /// A thread's own one, from before it is on the queue until it is freed.
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

    scope* const outer_;  // of a read that a signal handler has interrupted
    sleeper& own_;
  };

  /// In a child of fork(3): the forking thread's go on.
  static void keep_own_in_child() noexcept;

  virtual ~sleeper() = default;

  /// Tries the operation, and tells others what they may wait for. Lock held, as for take_locked().
  [[nodiscard]] virtual bool attempt() noexcept = 0;

 protected:
  sleeper(eventfd_ctx& ctx, unsigned waits_for) noexcept
      : process_entry{&sleeper::on_wake}, ctx_{ctx}, waits_for_{waits_for} {}

  eventfd_ctx& ctx_;

 private:
  friend class eventfd_ctx;

  static constexpr std::uint32_t done = 1;
  static constexpr std::uint32_t hung_up = 2;
  static constexpr std::uint32_t nudged = 4;  // look at the stop token

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

  std::uint32_t process_ = base::process_generation();  // in which its thread is
  const unsigned waits_for_;
  base::atomic<std::uint32_t> state_{0};
#ifdef __cpp_lib_jthread
  std::optional<std::stop_callback<nudge>> on_stop_;
#endif
};

}  // namespace doorbell
