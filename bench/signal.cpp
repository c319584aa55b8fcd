// SPDX-License-Identifier: Apache-2.0
//
// Rows 1 to 3: an eventfd without a waiter.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

#include <doorbell/eventfd.hpp>

#include "kernel_eventfd.hpp"

namespace doorbell::bench {
namespace {

void expect_count(benchmark::State& state, std::uint64_t count) {
  if (count != static_cast<std::uint64_t>(state.iterations()))
    state.SkipWithError("the count is not what was signalled");
}

template <class Eventfd>
void signal(benchmark::State& state) {
  const Eventfd efd;
  for (auto _ : state) efd.signal();
  expect_count(state, efd.read());
}

void signal_rmw(benchmark::State& state) {
  std::atomic<std::uint64_t> count{0};
  for (auto _ : state) count.fetch_add(1);
  expect_count(state, count);
}

template <class Eventfd>
void signal_read(benchmark::State& state) {
  const Eventfd efd;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    efd.signal();
    sum += efd.read();
  }
  expect_count(state, sum);
}

void signal_read_rmw(benchmark::State& state) {
  std::atomic<std::uint64_t> count{0};
  std::uint64_t sum = 0;
  for (auto _ : state) {
    count.fetch_add(1);
    sum += count.exchange(0);
  }
  expect_count(state, sum);
}

template <class Eventfd>
void create_close(benchmark::State& state) {
  for (auto _ : state) {
    Eventfd efd;
    benchmark::DoNotOptimize(efd);
  }
}

void create_close_malloc(benchmark::State& state) {
  for (auto _ : state) {
    void* memory = std::malloc(sizeof(eventfd_ctx));
    benchmark::DoNotOptimize(memory);
    std::free(memory);
  }
}

BENCHMARK(signal<eventfd>)->Name("signal/doorbell");
BENCHMARK(signal<kernel_eventfd>)->Name("signal/kernel");
BENCHMARK(signal_rmw)->Name("signal/rmw");

BENCHMARK(signal_read<eventfd>)->Name("signal_read/doorbell");
BENCHMARK(signal_read<kernel_eventfd>)->Name("signal_read/kernel");
BENCHMARK(signal_read_rmw)->Name("signal_read/two_rmw");

BENCHMARK(create_close<eventfd>)->Name("create_close/doorbell");
BENCHMARK(create_close<kernel_eventfd>)->Name("create_close/kernel");
BENCHMARK(create_close_malloc)->Name("create_close/malloc_free");

}  // namespace
}  // namespace doorbell::bench
