// SPDX-License-Identifier: Apache-2.0
//
// errno_kept: restores errno at the end of a scope to its value at the beginning.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cerrno>

namespace doorbell::base {

class errno_kept {
 public:
  errno_kept() noexcept = default;
  ~errno_kept() { errno = before_; }
  errno_kept(const errno_kept&) = delete;
  errno_kept& operator=(const errno_kept&) = delete;

 private:
  const int before_ = errno;
};

}  // namespace doorbell::base
