// SPDX-License-Identifier: Apache-2.0
//
// libevent, level- and edge-triggered.
#include <event2/event.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <utility>

#include "loop.hpp"

namespace doorbell::test {
namespace {

class libevent_loop final : public loop {
 public:
  explicit libevent_loop(int how) : how_{static_cast<short>(EV_READ | EV_PERSIST | how)} { EXPECT_NE(base_, nullptr); }

  void watch(int fd, std::function<void()> on_readable) override {
    auto& callback = on_readable_.emplace_back(std::move(on_readable));
    auto& made = events_.emplace_back(event_new(base_.get(), fd, how_, &called, &callback), &event_free);
    ASSERT_EQ(event_add(made.get(), nullptr), 0);
  }
  void run() override { EXPECT_EQ(event_base_loop(base_.get(), 0), 0); }
  // Without EVLOOP_ONCE, it would continue as long as a descriptor is ready.
  void run_ready() override { EXPECT_EQ(event_base_loop(base_.get(), EVLOOP_ONCE | EVLOOP_NONBLOCK), 0); }
  void stop() override { event_base_loopbreak(base_.get()); }

 private:
  static void called(evutil_socket_t /*fd*/, short /*what*/, void* callback) {
    (*static_cast<std::function<void()>*>(callback))();
  }

  const short how_;
  std::deque<std::function<void()>> on_readable_;
  const std::unique_ptr<event_base, decltype(&event_base_free)> base_{event_base_new(), &event_base_free};
  std::deque<std::unique_ptr<event, decltype(&event_free)>> events_;  // freed before their base
};

}  // namespace

template <>
std::unique_ptr<loop> make_libevent_loop<trigger::level>() {
  return std::make_unique<libevent_loop>(0);
}
template <>
std::unique_ptr<loop> make_libevent_loop<trigger::edge>() {
  return std::make_unique<libevent_loop>(EV_ET);
}

}  // namespace doorbell::test
