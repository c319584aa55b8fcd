// SPDX-License-Identifier: Apache-2.0
//
// Rows 9 and 10: lookup and release of a context; creation and destruction of one.
#include <benchmark/benchmark.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include <doorbell/aio.hpp>
#include <doorbell/base/percpu_ref.hpp>
#include <doorbell/base/rcu.hpp>

#include "../aio/context/kioctx.hpp"

namespace doorbell::bench {
namespace {

constexpr unsigned requests = 64;

// Every io_submit and io_getevents looks the context up at its start and releases it at its end.
void lookup_doorbell(benchmark::State& state) {
  static const aio::context ctx{requests};
  auto& table = aio::ioctx_table::process();
  const auto handle = ctx.handle();
  for (auto _ : state) {
    if (!table.lookup(handle)) state.SkipWithError("the context was not found");
  }
}

void lookup_shared_ptr(benchmark::State& state) {
  static std::atomic<std::shared_ptr<int>> slot{std::make_shared<int>(1)};
  for (auto _ : state) {
    if (slot.load() == nullptr) state.SkipWithError("the object was not found");
  }
}

void rcu_section(benchmark::State& state) {
  for (auto _ : state) const base::rcu_read_guard reading;
}

base::percpu_ref& shared_count() {
  static base::percpu_ref count{[](base::percpu_ref&) noexcept {}};
  return count;
}

void take_tryget_live(benchmark::State& state) {
  auto& count = shared_count();
  for (auto _ : state) {
    if (!count.tryget_live()) state.SkipWithError("the count is dying");
    count.put();
  }
}

void take_get(benchmark::State& state) {
  auto& count = shared_count();
  for (auto _ : state) {
    count.get();
    count.put();
  }
}

void setup_doorbell(benchmark::State& state) {
  for (auto _ : state) {
    aio::context ctx{requests};
    ctx.destroy();
  }
}

void setup_kernel(benchmark::State& state) {
  for (auto _ : state) {
    aio_context_t ctx = 0;
    if (::syscall(SYS_io_setup, requests, &ctx) != 0) state.SkipWithError("io_setup failed");
    ::syscall(SYS_io_destroy, ctx);
  }
}

BENCHMARK(lookup_doorbell)->Name("lookup/doorbell")->UseRealTime()->Threads(1)->Threads(2);
BENCHMARK(lookup_shared_ptr)->Name("lookup/shared_ptr")->UseRealTime()->Threads(1)->Threads(2);
BENCHMARK(rcu_section)->Name("lookup/rcu_section")->UseRealTime();
BENCHMARK(take_tryget_live)->Name("take/tryget_live");
BENCHMARK(take_get)->Name("take/get");
BENCHMARK(setup_doorbell)->Name("setup_destroy/doorbell")->UseRealTime();
BENCHMARK(setup_kernel)->Name("setup_destroy/kernel")->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
