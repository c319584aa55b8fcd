// SPDX-License-Identifier: Apache-2.0
//
// A loop on epoll(7), level- and edge-triggered.
#include <gtest/gtest.h>

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <deque>
#include <span>
#include <utility>

#include <doorbell/base/unique_fd.hpp>

#include "loop.hpp"

namespace doorbell::test {
namespace {

class epoll_loop final : public loop {
 public:
  explicit epoll_loop(unsigned how) : how_{how} { EXPECT_TRUE(epoll_); }

  void watch(int fd, std::function<void()> on_readable) override {
    auto& callback = on_readable_.emplace_back(std::move(on_readable));
    epoll_event event{.events = EPOLLIN | how_, .data = {.ptr = &callback}};
    ASSERT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  }
  void run() override {
    for (stopped_ = false; !stopped_;) turn(-1);
  }
  void run_ready() override { turn(0); }
  void stop() override { stopped_ = true; }

 private:
  void turn(int timeout) {
    std::array<epoll_event, 8> events{};
    const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
    ASSERT_GE(ready, 0);
    for (const auto& event : std::span{events}.first(static_cast<std::size_t>(ready)))
      (*static_cast<std::function<void()>*>(event.data.ptr))();
  }

  const unsigned how_;
  const base::unique_fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  std::deque<std::function<void()>> on_readable_;
  bool stopped_ = false;
};

}  // namespace

template <>
std::unique_ptr<loop> make_epoll_loop<trigger::level>() {
  return std::make_unique<epoll_loop>(0U);
}
template <>
std::unique_ptr<loop> make_epoll_loop<trigger::edge>() {
  return std::make_unique<epoll_loop>(static_cast<unsigned>(EPOLLET));
}

}  // namespace doorbell::test
