// SPDX-License-Identifier: Apache-2.0
//
// Operations of doorbell::asio::eventfd are ended by a cancellation slot, cancel(), close() or the last close, while
// signals and reads complete some of them. Two threads run the loop.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include "support/race.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::eventfd;
using doorbell::test::budget;
using doorbell::test::race;
using doorbell::test::stagger;

enum class ending { slots, cancel, close, last_close };

/// One operation, and its result. Only the handler accesses it until the loop has no more work.
struct operation {
  net::cancellation_signal stop;
  int handled = 0;
  bool done = false;
  std::uint64_t count = 0;  // the count read or written
};

/// Operations that wait on two eventfds: for counts on one, for room on the other.
class waiting_operations {
 public:
  static constexpr std::size_t size = 64;

  /// Starts all operations. Each has ended when run() returns.
  void start() {
    for (std::size_t at = 0; at < 2; ++at) {
      efds_.at(at) = eventfd{};
      contexts_.at(at) = efds_.at(at).context();
      objects_.at(at).emplace(io_, efds_.at(at));
    }
    efds_[1].signal(eventfd::max);
    signals_ = taken_ = 0;
    io_.restart();
    for (std::size_t at = 0; at < size; ++at) start(at);
  }

  void run() { io_.run(); }

  /// Completes some of the operations.
  void signal_and_make_room(stagger& random) {
    for (std::size_t i = 0; i < size; ++i) {
      contexts_[0]->signal();
      ++signals_;
      taken_ += contexts_[1]->drain();
      if (i % 4 == 0) random();
    }
  }

  /// Ends the operations that have not completed.
  void end(ending how, stagger& random) {
    constexpr std::array types{net::cancellation_type::terminal, net::cancellation_type::partial,
                               net::cancellation_type::total};
    switch (how) {
      case ending::slots:
        for (std::size_t at = 0; at < size; ++at) operations_.at(at)->stop.emit(types.at(random.below(types.size())));
        break;
      case ending::cancel:
        for (auto& object : objects_) object->cancel();
        break;
      case ending::close:
        for (auto& object : objects_) object->close();
        break;
      case ending::last_close:
        for (auto& efd : efds_) efd.close();
    }
  }

  void expect_each_ended_once_and_sums_are_exact() const {
    std::uint64_t read = 0;
    std::uint64_t written = 0;
    for (std::size_t at = 0; at < size; ++at) {
      EXPECT_EQ(operations_.at(at)->handled, 1);
      (at % 4 == 0 ? read : written) += operations_.at(at)->count;
    }
    EXPECT_TRUE(io_.stopped()) << "the loop has work left";
    EXPECT_EQ(read + contexts_[0]->count(), signals_);
    EXPECT_EQ(eventfd::max + written, taken_ + contexts_[1]->count());
  }

  [[nodiscard]] std::size_t completed() const {
    std::size_t sum = 0;
    for (const auto& each : operations_) sum += each->done ? 1U : 0U;
    return sum;
  }

 private:
  void start(std::size_t at) {
    auto& mine = operations_.at(at).emplace();
    const auto slot = mine.stop.slot();
    const auto told = [&mine](error_code ec) {
      ++mine.handled;
      mine.done = !ec;
    };
    switch (at % 4) {
      case 0:
        objects_[0]->async_read(net::bind_cancellation_slot(slot, [&mine, told](error_code ec, std::uint64_t count) {
          told(ec);
          mine.count = count;
        }));
        break;
      case 1:
        objects_[0]->async_wait(POLLIN, net::bind_cancellation_slot(slot, told));
        break;
      case 2:
        objects_[1]->async_wait(POLLOUT, net::bind_cancellation_slot(slot, told));
        break;
      default:
        objects_[1]->async_write(at, net::bind_cancellation_slot(slot, [&mine, told, at](error_code ec) {
                                   told(ec);
                                   if (!ec) mine.count = at;
                                 }));
    }
  }

  net::io_context io_;
  std::array<eventfd, 2> efds_;
  std::array<doorbell::eventfd_ctx_ptr, 2> contexts_;
  std::array<std::optional<doorbell::asio::eventfd>, 2> objects_;
  std::array<std::optional<operation>, size> operations_;
  std::uint64_t signals_ = 0;
  std::uint64_t taken_ = 0;  // includes the initial count; modulo 2^64, like the whole sum
};

// Oracle: each handler is called once, whether its operation completes or is ended. The counts read and left are
// together the counts signalled. The counts taken and left are together the initial count and those of successful
// writes. No work is left in the loop.
class asio_cancel_stress : public testing::TestWithParam<ending> {};

TEST_P(asio_cancel_stress, against_completion) {
  waiting_operations all;
  stagger while_signalling{1};
  stagger while_ending{2};
  std::size_t decisions = 0;
  std::size_t completed = 0;
  race(
      4, budget{200, std::chrono::milliseconds{500}}, [&] { all.start(); },
      [&](std::size_t index) {
        if (index == 0)
          all.end(GetParam(), while_ending);
        else if (index == 1)
          all.signal_and_make_room(while_signalling);
        else
          all.run();
      },
      [&] {
        all.expect_each_ended_once_and_sums_are_exact();
        decisions += waiting_operations::size;
        completed += all.completed();
      });
  RecordProperty("decisions", std::to_string(decisions));
  RecordProperty("completed", std::to_string(completed));
}

std::string name_of(const testing::TestParamInfo<ending>& how) {
  constexpr std::array names{"slots", "cancel", "close", "last_close"};
  return names.at(static_cast<std::size_t>(how.param));
}

INSTANTIATE_TEST_SUITE_P(each_ending, asio_cancel_stress,
                         testing::Values(ending::slots, ending::cancel, ending::close, ending::last_close), name_of);

}  // namespace
