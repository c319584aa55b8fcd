// SPDX-License-Identifier: Apache-2.0
//
// Row 7: two Asio loops, a thread each, that answer each other: the near one on the first CPU, the far one on the first or
// the second. The time is for one round trip.
#include <benchmark/benchmark.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "ears.hpp"
#include "loop_thread.hpp"
#include "pinned.hpp"
#include "tally.hpp"

namespace doorbell::bench {
namespace {

constexpr benchmark::IterationCount rounds = 500;

constexpr std::size_t near_cpu = 0;
std::size_t far_cpu(const benchmark::State& state) { return static_cast<std::size_t>(state.range(0)); }

template <class Ear>
void ping_pong(benchmark::State& state) {
  tally counted;
  loop_thread near{near_cpu};
  loop_thread far{far_cpu(state)};
  Ear ping{far.io()};
  Ear pong{near.io()};
  boost::asio::post(far.io(), [&] { ping.listen([&](std::uint64_t) { pong.signal(); }); });
  boost::asio::post(near.io(), [&] {
    pong.listen([&](std::uint64_t) {
      if (!counted.add(1)) ping.signal();
    });
  });
  while (state.KeepRunningBatch(rounds)) {
    counted.expect(rounds);
    ping.signal();
    if (!counted.wait()) state.SkipWithError("an answer too many");
  }
  near.stop();
  far.stop();
}

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

void ping_pong_futex(benchmark::State& state) {
  futex_flag ping;
  futex_flag pong;
  std::jthread far{[&](const std::stop_token& stop) {
    const pinned there{far_cpu(state)};
    for (ping.wait_and_lower(); !stop.stop_requested(); ping.wait_and_lower()) pong.raise();
  }};
  const pinned here{near_cpu};
  for (auto _ : state) {
    ping.raise();
    pong.wait_and_lower();
  }
  far.request_stop();
  ping.raise();
}

BENCHMARK(ping_pong<doorbell_ear>)->Name("ping_pong/doorbell")->ArgName("far_cpu")->DenseRange(0, 1)->UseRealTime();
BENCHMARK(ping_pong<descriptor_ear>)->Name("ping_pong/descriptor")->ArgName("far_cpu")->DenseRange(0, 1)->UseRealTime();
BENCHMARK(ping_pong_futex)->Name("ping_pong/futex")->ArgName("far_cpu")->DenseRange(0, 1)->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
