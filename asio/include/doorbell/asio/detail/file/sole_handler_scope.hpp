// SPDX-License-Identifier: Apache-2.0
//
// sole_handler_scope: during its lifetime the thread runs the handler of a file operation, and no other handler of that
// file_proactor is posted. The first operation that this handler starts therefore cannot be submitted together with
// another one. Handlers may run loops, whose handlers have scopes of their own: the scopes nest.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <utility>

namespace doorbell::asio::detail {

class file_proactor;

class sole_handler_scope {
 public:
  /// @param proactor of the handler; null if other handlers are posted.
  explicit sole_handler_scope(const file_proactor* proactor) noexcept
      : proactor_{proactor}, before_{std::exchange(innermost_, this)} {}
  sole_handler_scope(const sole_handler_scope&) = delete;
  sole_handler_scope& operator=(const sole_handler_scope&) = delete;
  ~sole_handler_scope() { innermost_ = before_; }

  /// @return whether this thread runs the only handler of `proactor`. Returns true once in each scope.
  [[nodiscard]] static bool take_first_start(const file_proactor& proactor) noexcept {
    if (innermost_ == nullptr || innermost_->proactor_ != &proactor) return false;
    // equivalent fault (assignment): each start is then submitted by itself
    innermost_->proactor_ = nullptr;
    return true;
  }

 private:
  static inline constinit thread_local sole_handler_scope* innermost_ = nullptr;

  const file_proactor* proactor_;  // null after take_first_start() has returned true
  sole_handler_scope* const before_;
};

}  // namespace doorbell::asio::detail
