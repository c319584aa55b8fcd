// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <thread>

#include "support/threads.hpp"

namespace doorbell::test {

/// Calls `body` in a new thread. When the constructor returns, that thread sleeps.
class asleep {
 public:
  template <class Body>
  explicit asleep(const Body& body)
      : thread_{[this, body] {
          sleeping_.here();
          body();
        }} {
    EXPECT_TRUE(sleeping_.wait_until_asleep());
  }

  [[nodiscard]] bool still_asleep() const { return sleeping_.wait_until_asleep(); }
  [[nodiscard]] std::jthread::native_handle_type native_handle() { return thread_.native_handle(); }
  void join() { thread_.join(); }

 private:
  sleeper sleeping_;
  std::jthread thread_;
};

}  // namespace doorbell::test
