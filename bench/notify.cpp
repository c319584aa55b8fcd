// SPDX-License-Identifier: Apache-2.0
//
// Rows 4 and 5: one callback on an eventfd's wait queue. Each callback counts its calls, so that all sides execute the
// same code.
#include <benchmark/benchmark.h>
#include <boost/signals2/signal.hpp>

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

namespace doorbell::bench {
namespace {

void expect_calls(benchmark::State& state, std::uint64_t calls) {
  if (calls != static_cast<std::uint64_t>(state.iterations()))
    state.SkipWithError("a call for each signal was expected");
}

void notify_doorbell(benchmark::State& state) {
  std::uint64_t calls = 0;
  const eventfd efd;
  const notifier watch{efd, [&calls](eventfd_ctx&) { ++calls; }};
  for (auto _ : state) efd.signal();
  expect_calls(state, calls);
}

// With the default mutex of signals2. Its dummy_mutex would be faster, but is not thread-safe.
void notify_signals2(benchmark::State& state) {
  std::uint64_t calls = 0;
  boost::signals2::signal<void()> signal;
  const boost::signals2::scoped_connection watch{signal.connect([&calls] { ++calls; })};
  for (auto _ : state) signal();
  expect_calls(state, calls);
}

void notify_lock_call(benchmark::State& state) {
  std::uint64_t calls = 0;
  std::mutex mutex;
  void (*callback)(std::uint64_t&) = [](std::uint64_t& count) { ++count; };
  benchmark::DoNotOptimize(callback);
  for (auto _ : state) {
    const std::lock_guard held{mutex};
    callback(calls);
  }
  expect_calls(state, calls);
}

void register_doorbell(benchmark::State& state) {
  std::uint64_t calls = 0;
  const eventfd efd;
  notifier watch{[&calls](eventfd_ctx&) { ++calls; }};
  for (auto _ : state) {
    watch.register_with(efd);
    watch.unregister();
  }
}

void construct_doorbell(benchmark::State& state) {
  std::uint64_t calls = 0;
  const eventfd efd;
  for (auto _ : state) notifier watch{efd, [&calls](eventfd_ctx&) { ++calls; }};
}

void register_stop_callback(benchmark::State& state) {
  std::uint64_t calls = 0;
  const std::stop_source source;
  const auto token = source.get_token();
  for (auto _ : state) const std::stop_callback watch{token, [&calls] { ++calls; }};
}

void register_signals2(benchmark::State& state) {
  std::uint64_t calls = 0;
  boost::signals2::signal<void()> signal;
  for (auto _ : state) signal.connect([&calls] { ++calls; }).disconnect();
}

struct link {
  link* next = this;
  link* previous = this;
};

void register_lock_link(benchmark::State& state) {
  std::mutex mutex;
  link head;
  link entry;
  for (auto _ : state) {
    {
      const std::lock_guard held{mutex};
      entry = {&head, head.previous};
      head.previous = entry.previous->next = &entry;
      benchmark::ClobberMemory();
    }
    const std::lock_guard held{mutex};
    entry.next->previous = entry.previous;
    entry.previous->next = entry.next;
    benchmark::ClobberMemory();
  }
}

BENCHMARK(notify_doorbell)->Name("notify/doorbell");
BENCHMARK(notify_signals2)->Name("notify/signals2");
BENCHMARK(notify_lock_call)->Name("notify/lock_call_unlock");

BENCHMARK(register_doorbell)->Name("register/doorbell");
BENCHMARK(construct_doorbell)->Name("register/doorbell_constructed");
BENCHMARK(register_stop_callback)->Name("register/stop_callback");
BENCHMARK(register_signals2)->Name("register/signals2");
BENCHMARK(register_lock_link)->Name("register/lock_link_unlink_unlock");

}  // namespace
}  // namespace doorbell::bench
