// SPDX-License-Identifier: Apache-2.0
//
// A loop on poll(2), which is level-triggered.
#include <gtest/gtest.h>

#include <poll.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "loop.hpp"

namespace doorbell::test {
namespace {

class poll_loop final : public loop {
 public:
  void watch(int fd, std::function<void()> on_readable) override {
    waited_for_.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    on_readable_.push_back(std::move(on_readable));
  }
  void run() override {
    for (stopped_ = false; !stopped_;) turn(-1);
  }
  void run_ready() override { turn(0); }
  void stop() override { stopped_ = true; }

 private:
  void turn(int timeout) {
    ASSERT_GE(::poll(waited_for_.data(), waited_for_.size(), timeout), 0);
    for (std::size_t i = 0; i < waited_for_.size(); ++i)
      if (waited_for_[i].revents != 0) on_readable_[i]();
  }

  std::vector<pollfd> waited_for_;
  std::vector<std::function<void()>> on_readable_;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<loop> make_poll_loop() { return std::make_unique<poll_loop>(); }

}  // namespace doorbell::test
