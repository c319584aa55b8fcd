// SPDX-License-Identifier: Apache-2.0
//
// Whether the running code is that under test, whose memory accesses are checked, or the model checker's own.
#pragma once

#include <utility>

namespace doorbell::model {

inline constinit bool is_tracked = false;

/// Marks a scope as the model checker's own code. If threads are switched in it, each thread's scope restores the value
/// that it has saved.
class not_tracked {
 public:
  not_tracked() noexcept : before_{std::exchange(is_tracked, false)} {}
  ~not_tracked() { is_tracked = before_; }
  not_tracked(const not_tracked&) = delete;
  not_tracked& operator=(const not_tracked&) = delete;

 private:
  const bool before_;
};

/// Marks a scope as code under test.
class tracked {
 public:
  tracked() noexcept : before_{std::exchange(is_tracked, true)} {}
  ~tracked() { is_tracked = before_; }
  tracked(const tracked&) = delete;
  tracked& operator=(const tracked&) = delete;

 private:
  const bool before_;
};

}  // namespace doorbell::model
