// SPDX-License-Identifier: Apache-2.0
//
// liburing's calls into the kernel, which fail when a test asks for it. The linker puts them in place of liburing's own
// (--wrap), so the tests run the product's code unchanged.
#pragma once

#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <functional>

namespace doorbell::test {

/// Which of the next calls fail, and with which error.
class failure {
 public:
  /// The next `times` calls return -`error`.
  void inject(int error, int times) noexcept {
    error_ = error;
    left_ = times;
  }
  /// From now on one of every `n` calls fails, until stop().
  void inject_every(int error, int n) noexcept {
    error_ = error;
    every_ = n;
  }
  void stop() noexcept { left_ = every_ = 0; }
  [[nodiscard]] bool over() const noexcept { return left_ <= 0; }

  /// @return the result of this call; 0: make the real call.
  [[nodiscard]] int next() noexcept {
    const int every = every_;
    if (every > 0) return calls_++ % static_cast<unsigned>(every) == 0 ? -error_ : 0;
    if (left_ <= 0) return 0;
    return left_-- > 0 ? -error_ : 0;
  }

 private:
  std::atomic<int> error_{0};
  std::atomic<int> left_{0};
  std::atomic<int> every_{0};
  std::atomic<unsigned> calls_{0};
};

/// Called before a submit is refused, with the ring's lock held. Empty: no effect.
inline std::function<void()> before_a_refusal;
inline constinit failure submitting;
inline constinit failure waiting;
/// The setup of a ring.
inline constinit failure creating;
/// As Linux 5.10: the kernel takes no entry while the completion queue is full.
inline constinit std::atomic<bool> busy_when_full{false};
/// As before Linux 5.11: new rings report that io_uring_enter(2) takes no timeout, and a call with one fails.
inline constinit std::atomic<bool> knows_no_timeouts{false};
/// The kernel takes one entry in each call.
inline constinit std::atomic<bool> takes_one_entry{false};
/// A new ring with more completions than this fails for lack of memory. 0: no limit.
inline constinit std::atomic<unsigned> most_completions{0};

/// Stops all injected failures when it is destroyed.
struct injections {
  injections() = default;
  injections(const injections&) = delete;
  injections& operator=(const injections&) = delete;
  ~injections() {
    before_a_refusal = nullptr;
    submitting.stop();
    waiting.stop();
    creating.stop();
    busy_when_full = false;
    knows_no_timeouts = takes_one_entry = false;
    most_completions = 0;
  }
};

}  // namespace doorbell::test
