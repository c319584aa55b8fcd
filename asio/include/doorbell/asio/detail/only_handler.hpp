// SPDX-License-Identifier: Apache-2.0
//
// only_handler: during its lifetime the thread is in the handler of a file
// operation, and no other handler of its file_proactor is about to run: the
// first operation that it starts has nothing to be submitted together with.
// Handlers may run loops, whose handlers are in scopes of their own: the scopes
// nest.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <utility>

namespace doorbell::asio::detail {

class file_proactor;

class only_handler {
 public:
  /// @param turns whose handler it is; null when the handler is one of several.
  explicit only_handler(const file_proactor* turns) noexcept
      : turns_{turns}, before_{std::exchange(innermost_, this)} {}
  only_handler(const only_handler&) = delete;
  only_handler& operator=(const only_handler&) = delete;
  ~only_handler() { innermost_ = before_; }

  /// @return whether this thread is in the only handler of `turns`; false from
  /// the second call on.
  [[nodiscard]] static bool take_first_start(const file_proactor& turns) noexcept {
    if (innermost_ == nullptr || innermost_->turns_ != &turns) return false;
    innermost_->turns_ = nullptr;
    return true;
  }

 private:
  static inline constinit thread_local only_handler* innermost_ = nullptr;

  const file_proactor* turns_;  // null, too, once it has been taken
  only_handler* const before_;
};

}  // namespace doorbell::asio::detail
