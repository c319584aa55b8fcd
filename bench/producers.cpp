// SPDX-License-Identifier: Apache-2.0
//
// Row 8: several threads that signal one shared eventfd, or one eventfd each.
#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include <doorbell/eventfd.hpp>

#include "kernel_eventfd.hpp"

namespace doorbell::bench {
namespace {

template <class Eventfd, std::size_t Eventfds>
void producers(benchmark::State& state) {
  static const std::array<Eventfd, Eventfds> efds;  // the same for all threads of a run
  const auto place = static_cast<std::size_t>(state.thread_index());
  const Eventfd& efd = efds[place % Eventfds];
  for (auto _ : state) efd.signal();
  // At this point all threads have left the loop, and no thread starts the next run before this function returns.
  if (place >= Eventfds) return;
  const auto sharers = static_cast<std::size_t>(state.threads()) / Eventfds;
  if (efd.read() != sharers * static_cast<std::uint64_t>(state.iterations()))
    state.SkipWithError("the count is not what was signalled");
}

BENCHMARK(producers<eventfd, 1>)->Name("producers_on_1/doorbell")->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(producers<eventfd, 2>)->Name("producers_on_2/doorbell")->Threads(2)->UseRealTime();
BENCHMARK(producers<kernel_eventfd, 1>)->Name("producers_on_1/kernel")->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(producers<kernel_eventfd, 2>)->Name("producers_on_2/kernel")->Threads(2)->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
