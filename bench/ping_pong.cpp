// SPDX-License-Identifier: Apache-2.0
//
// Row 7: two Asio loops, in one thread each, that signal each other: the near loop on the first CPU, the far loop on
// the first or the second. The result is the time per round trip.
#include <benchmark/benchmark.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "interleaved.hpp"
#include "loop_thread.hpp"
#include "pinned.hpp"
#include "tally.hpp"
#include "wakeup_channels.hpp"

namespace doorbell::bench {
namespace {

constexpr benchmark::IterationCount rounds = 500;

constexpr std::size_t near_cpu = 0;
std::size_t far_cpu(const benchmark::State& state) { return static_cast<std::size_t>(state.range(0)); }

/// Two loops that signal each other.
template <class Channel>
class asio_game {
 public:
  explicit asio_game(std::size_t far_cpu) : far_{far_cpu} {
    boost::asio::post(far_.io(), [this] { ping_.listen([this](std::uint64_t) { pong_.signal(); }); });
    boost::asio::post(near_.io(), [this] {
      pong_.listen([this](std::uint64_t) {
        if (!counted_.add(1)) ping_.signal();
      });
    });
  }
  ~asio_game() {
    near_.stop();
    far_.stop();
  }
  asio_game(const asio_game&) = delete;
  asio_game& operator=(const asio_game&) = delete;

  void round() {
    counted_.expect(rounds);
    ping_.signal();
    failed_ = failed_ || !counted_.wait();
  }
  /// Whether more answers arrived than were expected.
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  tally counted_;
  loop_thread near_{near_cpu};
  loop_thread far_;
  Channel ping_{far_.io()};
  Channel pong_{near_.io()};
  bool failed_ = false;
};

class futex_flag {
 public:
  void raise() {
    word_ = 1;
    ::syscall(SYS_futex, &word_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
  }
  void wait_and_lower() {
    while (word_.exchange(0) == 0)
      ::syscall(SYS_futex, &word_, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, nullptr, nullptr, 0);
  }

 private:
  std::atomic<std::uint32_t> word_{0};
};

/// The same without loops: the cost of sleeping and waking alone. The near thread starts each round.
class futex_game {
 public:
  explicit futex_game(std::size_t far_cpu)
      : far_{[this, far_cpu](const std::stop_token& stop) {
          const pinned there{far_cpu};
          for (ping_.wait_and_lower(); !stop.stop_requested(); ping_.wait_and_lower()) pong_.raise();
        }} {}
  ~futex_game() {
    far_.request_stop();
    ping_.raise();
  }
  futex_game(const futex_game&) = delete;
  futex_game& operator=(const futex_game&) = delete;

  void round() {
    const pinned here{near_cpu};
    for (benchmark::IterationCount i = 0; i < rounds; ++i) {
      ping_.raise();
      pong_.wait_and_lower();
    }
  }

 private:
  futex_flag ping_;
  futex_flag pong_;
  std::jthread far_;
};

void ping_pong(benchmark::State& state) {
  asio_game<doorbell_channel> ours{far_cpu(state)};
  asio_game<descriptor_channel> theirs{far_cpu(state)};
  futex_game limit{far_cpu(state)};
  interleaved comparison;
  comparison.add("doorbell", [&] { ours.round(); });
  comparison.add("descriptor", [&] { theirs.round(); });
  comparison.add("futex", [&] { limit.round(); });
  comparison.run(state, rounds);
  if (ours.failed() || theirs.failed()) state.SkipWithError("an answer too many");
}

BENCHMARK(ping_pong)->ArgName("far_cpu")->DenseRange(0, 1)->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
