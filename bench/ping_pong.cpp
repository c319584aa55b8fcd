// SPDX-License-Identifier: Apache-2.0
//
// Row 7: two Asio loops, a thread each, that answer each other. The time is for one round trip.
#include <benchmark/benchmark.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

#include "ears.hpp"
#include "loop_thread.hpp"
#include "tally.hpp"

namespace doorbell::bench {
namespace {

constexpr benchmark::IterationCount rounds = 500;

template <class Ear>
void ping_pong(benchmark::State& state) {
  tally counted;
  loop_thread near;
  loop_thread far;
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
    for (ping.wait_and_lower(); !stop.stop_requested(); ping.wait_and_lower()) pong.raise();
  }};
  for (auto _ : state) {
    ping.raise();
    pong.wait_and_lower();
  }
  far.request_stop();
  ping.raise();
}

BENCHMARK(ping_pong<doorbell_ear>)->Name("ping_pong/doorbell")->UseRealTime();
BENCHMARK(ping_pong<descriptor_ear>)->Name("ping_pong/descriptor")->UseRealTime();
BENCHMARK(ping_pong_futex)->Name("ping_pong/futex")->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
