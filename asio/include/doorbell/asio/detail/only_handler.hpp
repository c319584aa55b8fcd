// SPDX-License-Identifier: Apache-2.0
//
// only_handler: while it is there, this thread is in a handler that a turn of a file_proactor's calls, and that is the only one of
// that turn: what it starts has nothing to be submitted together with. Handlers may run loops, and these may have turns: they nest.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <utility>

namespace doorbell::asio::detail {

class file_proactor;

class only_handler {
 public:
  /// @param turns whose turn it is; null when the handler is one of several.
  explicit only_handler(const file_proactor* turns) noexcept : before_{std::exchange(turns_, turns)} {}
  only_handler(const only_handler&) = delete;
  only_handler& operator=(const only_handler&) = delete;
  ~only_handler() { turns_ = before_; }

  /// @return whose turn this thread is in so, or null.
  [[nodiscard]] static const file_proactor* of_turn() noexcept { return turns_; }

 private:
  static inline constinit thread_local const file_proactor* turns_ = nullptr;

  const file_proactor* before_;
};

}  // namespace doorbell::asio::detail
