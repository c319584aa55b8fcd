// SPDX-License-Identifier: Apache-2.0
//
// libuv: uv_poll_t, which is level-triggered.
#include <gtest/gtest.h>
#include <uv.h>

#include <deque>
#include <utility>

#include "loop.hpp"

namespace doorbell::test {
namespace {

class libuv_loop final : public loop {
 public:
  libuv_loop() { EXPECT_EQ(uv_loop_init(&loop_), 0); }
  // A handle may be freed only after the loop has completed its close.
  ~libuv_loop() override {
    for (auto& one : polls_) uv_close(reinterpret_cast<uv_handle_t*>(&one.poll), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }
  libuv_loop(const libuv_loop&) = delete;
  libuv_loop& operator=(const libuv_loop&) = delete;

  void watch(int fd, std::function<void()> on_readable) override {
    auto& one = polls_.emplace_back();
    one.on_readable = std::move(on_readable);
    one.poll.data = &one;
    ASSERT_EQ(uv_poll_init(&loop_, &one.poll, fd), 0);
    ASSERT_EQ(uv_poll_start(&one.poll, UV_READABLE, &called), 0);
  }
  void run() override { uv_run(&loop_, UV_RUN_DEFAULT); }
  void run_ready() override { uv_run(&loop_, UV_RUN_NOWAIT); }
  void stop() override { uv_stop(&loop_); }

 private:
  struct watched {
    uv_poll_t poll;
    std::function<void()> on_readable;
  };

  static void called(uv_poll_t* poll, int status, int /*events*/) {
    EXPECT_EQ(status, 0);
    static_cast<watched*>(poll->data)->on_readable();
  }

  uv_loop_t loop_{};
  std::deque<watched> polls_;
};

}  // namespace

std::unique_ptr<loop> make_libuv_loop() { return std::make_unique<libuv_loop>(); }

}  // namespace doorbell::test
