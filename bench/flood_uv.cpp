// SPDX-License-Identifier: Apache-2.0
//
// Row 6, the peer that loses counts: libuv's uv_async_send. It wakes the loop without passing on the number of calls,
// so it does less work than the other peers. The counter "lost" is the share of calls for which no callback ran.
#include <benchmark/benchmark.h>
#include <uv.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "tally.hpp"

namespace doorbell::bench {
namespace {

constexpr benchmark::IterationCount events = 100'000;

class uv_loop_thread {
 public:
  uv_loop_thread() {
    uv_loop_init(&loop_);
    uv_async_init(&loop_, &async_, [](uv_async_t* async) { static_cast<uv_loop_thread*>(async->data)->on_async(); });
    async_.data = this;
    thread_ = std::thread{[this] { uv_run(&loop_, UV_RUN_DEFAULT); }};
  }
  ~uv_loop_thread() {
    closing_ = true;
    send();
    thread_.join();
    uv_loop_close(&loop_);
  }
  uv_loop_thread(const uv_loop_thread&) = delete;
  uv_loop_thread& operator=(const uv_loop_thread&) = delete;

  void send() { uv_async_send(&async_); }
  /// Sends once more, and sleeps until the loop has called the callback for it.
  void flush() {
    flushed_.expect(1);
    flushing_ = true;
    send();
    if (!flushed_.wait()) std::terminate();
  }
  [[nodiscard]] std::uint64_t calls() const { return calls_; }

 private:
  void on_async() {
    calls_.fetch_add(1, std::memory_order_relaxed);
    if (flushing_.exchange(false)) flushed_.add(1);
    if (closing_) uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr);
  }

  uv_loop_t loop_{};
  uv_async_t async_{};
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<bool> flushing_{false};
  std::atomic<bool> closing_{false};
  tally flushed_;
  std::thread thread_;
};

void flood_uv(benchmark::State& state) {
  uv_loop_thread loop;
  std::uint64_t sent = 0;
  while (state.KeepRunningBatch(events)) {
    for (benchmark::IterationCount i = 0; i < events; ++i) loop.send();
    loop.flush();
    sent += events + 1;
  }
  state.counters["lost"] = 1.0 - static_cast<double>(loop.calls()) / static_cast<double>(sent);
}

[[maybe_unused]] const bool version_told = [] {
  benchmark::AddCustomContext("libuv", uv_version_string());
  return true;
}();

BENCHMARK(flood_uv)->Name("flood/uv_async_send")->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
