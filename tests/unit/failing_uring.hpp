// SPDX-License-Identifier: Apache-2.0
//
// liburing's calls into the kernel, which fail when a test says so. The linker puts these in place of liburing's own
// (--wrap), so that what is tested is the product as it is.
#pragma once

#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <functional>

namespace doorbell::test {

/// The next calls that fail, and how.
class failure {
 public:
  /// The next `times` calls answer -`error`.
  void inject(int error, int times) noexcept {
    error_ = error;
    left_ = times;
  }
  /// From now on each call that would be the `n`th since the last one to fail does fail.
  void inject_every(int error, int n) noexcept {
    error_ = error;
    every_ = n;
  }
  void stop() noexcept { left_ = every_ = 0; }
  [[nodiscard]] bool over() const noexcept { return left_ <= 0; }

  /// @return the answer of this call: 0 when it is to be made.
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

/// Called before a submit is refused; under the ring's lock. Empty: nothing.
inline std::function<void()> before_a_refusal;
inline constinit failure submitting;
inline constinit failure waiting;
/// As Linux 5.10 has it: nothing is taken while the completion queue is full.
inline constinit std::atomic<bool> busy_when_full{false};
/// As before Linux 5.11: new rings say that io_uring_enter(2) takes no timeout, and with one it fails.
inline constinit std::atomic<bool> knows_no_timeouts{false};
/// The kernel takes one entry in each call.
inline constinit std::atomic<bool> takes_one_entry{false};
/// For a new ring with more completions there is no memory. 0: there is.
inline constinit std::atomic<unsigned> most_completions{0};

/// Ends what has been injected.
struct injections {
  injections() = default;
  injections(const injections&) = delete;
  injections& operator=(const injections&) = delete;
  ~injections() {
    before_a_refusal = nullptr;
    submitting.stop();
    waiting.stop();
    busy_when_full = false;
    knows_no_timeouts = takes_one_entry = false;
    most_completions = 0;
  }
};

}  // namespace doorbell::test
