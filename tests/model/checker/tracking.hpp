// SPDX-License-Identifier: Apache-2.0
//
// Whether the code under test runs, whose memory is checked, or the model checker's own.
#pragma once

#include <utility>

namespace doorbell::model {

inline constinit bool is_tracked = false;

/// The model checker's own code, for a scope. When threads are switched in it, each comes back with its own.
class not_tracked {
 public:
  not_tracked() noexcept : before_{std::exchange(is_tracked, false)} {}
  ~not_tracked() { is_tracked = before_; }
  not_tracked(const not_tracked&) = delete;
  not_tracked& operator=(const not_tracked&) = delete;

 private:
  const bool before_;
};

/// The code under test, for a scope.
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
