// SPDX-License-Identifier: Apache-2.0
//
// Row 6: one thread signals as fast as it can, and an Asio loop in another thread counts. The result is the time per
// event, until the last event has been counted. A wrong count is a failure.
#include <benchmark/benchmark.h>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

#include "loop_thread.hpp"
#include "tally.hpp"
#include "wakeup_channels.hpp"

namespace doorbell::bench {
namespace {

constexpr benchmark::IterationCount events = 100'000;

template <class Signal>
void flood(benchmark::State& state, tally& counted, Signal signal) {
  while (state.KeepRunningBatch(events)) {
    counted.expect(events);
    for (benchmark::IterationCount i = 0; i < events; ++i) signal();
    if (!counted.wait()) state.SkipWithError("more was counted than was signalled");
  }
}

template <class Channel>
void flood_channel(benchmark::State& state) {
  tally counted;
  loop_thread loop;
  Channel channel{loop.io()};
  boost::asio::post(loop.io(), [&] { channel.listen([&counted](std::uint64_t n) { counted.add(n); }); });
  flood(state, counted, [&channel] { channel.signal(); });
  loop.stop();
}

void flood_post(benchmark::State& state) {
  tally counted;
  loop_thread loop;
  flood(state, counted, [&] { boost::asio::post(loop.io(), [&counted] { counted.add(1); }); });
}

void flood_rmw(benchmark::State& state) {
  tally counted;
  std::atomic<std::uint64_t> count{0};
  std::jthread consumer{[&](const std::stop_token& stop) {
    while (!stop.stop_requested())
      if (const auto n = count.exchange(0)) counted.add(n);
  }};
  flood(state, counted, [&count] { count.fetch_add(1); });
}

BENCHMARK(flood_channel<doorbell_channel>)->Name("flood/doorbell")->UseRealTime();
BENCHMARK(flood_post)->Name("flood/asio_post")->UseRealTime();
BENCHMARK(flood_channel<descriptor_channel>)->Name("flood/descriptor")->UseRealTime();
BENCHMARK(flood_rmw)->Name("flood/rmw_shared_line")->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
