// SPDX-License-Identifier: Apache-2.0
//
// How costs grow: each benchmark measures one operation beside N other objects, for several N. Row 19 (HUP) and the
// memory of row 11 are points of these curves. bench/growth.py draws them.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/unique_fd.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "kernel_eventfd.hpp"

namespace doorbell::bench {
namespace {

std::size_t size_of(const benchmark::State& state) { return static_cast<std::size_t>(state.range(0)); }

/// Divides the time of an iteration by `parts`.
void report_each(benchmark::State& state, std::size_t parts) {
  state.counters["each"] = benchmark::Counter(
      static_cast<double>(parts), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

/// The numbers of objects, in steps of 10.
template <std::int64_t Last>
void up_to(benchmark::internal::Benchmark* which) {
  for (std::int64_t n = 1; n <= Last; n *= 10) which->Arg(n);
}

/// The same, with at most as many objects as this process may have descriptors. Raises the soft limit to the hard one.
template <std::int64_t Last>
void up_to_descriptors(benchmark::internal::Benchmark* which) {
  constexpr rlim_t others = 100;
  rlimit most{};
  ::getrlimit(RLIMIT_NOFILE, &most);
  most.rlim_cur = most.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &most);
  for (std::int64_t n = 1; n <= Last && static_cast<rlim_t>(n) + others <= most.rlim_cur; n *= 10) which->Arg(n);
}

// Notifiers of one eventfd.

void notifiers_signal(benchmark::State& state) {
  std::uint64_t calls = 0;
  const eventfd efd;
  std::deque<notifier> all;
  for (std::size_t n = 0; n < size_of(state); ++n) all.emplace_back(efd, [&calls](eventfd_ctx&) { ++calls; });
  for (auto _ : state) efd.signal();
  if (calls != static_cast<std::uint64_t>(state.iterations()) * all.size()) state.SkipWithError("calls are missing");
  report_each(state, all.size());
}

void notifiers_hup(benchmark::State& state) {
  using clock = std::chrono::steady_clock;
  std::uint64_t released = 0;
  std::uint64_t expected = 0;
  for (auto _ : state) {
    eventfd efd;
    std::deque<notifier> all;
    for (std::size_t n = 0; n < size_of(state); ++n)
      all.emplace_back(efd, [](eventfd_ctx&) {}, [&released] { ++released; });
    expected += all.size();
    const auto began = clock::now();
    efd.close();
    state.SetIterationTime(std::chrono::duration<double>(clock::now() - began).count());
  }
  if (released != expected) state.SkipWithError("a HUP for each notifier was expected");
  report_each(state, size_of(state));
}

// Eventfds.

std::size_t resident_bytes() {
  std::size_t all = 0;
  std::size_t resident = 0;
  std::ifstream{"/proc/self/statm"} >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Signals eventfds in a random order, so that each access finds its eventfd where the caches have left it.
template <class Eventfd>
void eventfds_signal(benchmark::State& state) {
  ::malloc_trim(0);  // otherwise memory that was freed before would be used again, and not counted
  const auto before = resident_bytes();
  auto all = std::make_unique<std::vector<Eventfd>>(size_of(state));
  if (std::is_same_v<Eventfd, eventfd>)  // a kernel eventfd has its memory in the kernel
    state.counters["bytes"] = static_cast<double>(resident_bytes() - before) / static_cast<double>(all->size());
  std::minstd_rand random;
  std::vector<std::uint32_t> order(std::min<std::size_t>(all->size(), 1U << 16));
  for (auto& each : order) each = static_cast<std::uint32_t>(random() % all->size());
  std::size_t next = 0;
  for (auto _ : state) {
    (*all)[order[next]].signal();
    if (++next == order.size()) next = 0;
  }
}

template <class Eventfd>
void eventfds_made(benchmark::State& state) {
  const std::vector<Eventfd> others(size_of(state));
  for (auto _ : state) const Eventfd one;
}

// Contexts. Both sides make the same calls.

struct of_doorbell {
  static long setup(unsigned nr, aio::aio_context_t* ctx) { return aio::io_setup(nr, ctx); }
  static long destroy(aio::aio_context_t ctx) { return aio::io_destroy(ctx); }
  static long submit(aio::aio_context_t ctx, long nr, aio::iocb_abi** list) { return aio::io_submit(ctx, nr, list); }
  static long get(aio::aio_context_t ctx, long min, long nr, aio::io_event* events) {
    return aio::io_getevents(ctx, min, nr, events, nullptr);
  }
};

struct of_kernel {
  static long setup(unsigned nr, aio::aio_context_t* ctx) { return ::syscall(SYS_io_setup, nr, ctx); }
  static long destroy(aio::aio_context_t ctx) { return ::syscall(SYS_io_destroy, ctx); }
  static long submit(aio::aio_context_t ctx, long nr, aio::iocb_abi** list) {
    return ::syscall(SYS_io_submit, ctx, nr, list);
  }
  static long get(aio::aio_context_t ctx, long min, long nr, aio::io_event* events) {
    return ::syscall(SYS_io_getevents, ctx, min, nr, events, nullptr);
  }
};

template <class Side>
class used_context {
 public:
  explicit used_context(unsigned nr = 1) {
    if (Side::setup(nr, &ctx_) != 0) throw std::runtime_error{"io_setup"};
  }
  ~used_context() { Side::destroy(ctx_); }
  used_context(const used_context&) = delete;
  used_context& operator=(const used_context&) = delete;

  void submit(aio::iocb_abi& request) {
    auto* one = &request;
    if (Side::submit(ctx_, 1, &one) != 1) throw std::runtime_error{"io_submit"};
  }
  void submit(std::vector<aio::iocb_abi*>& list) {
    if (Side::submit(ctx_, static_cast<long>(list.size()), list.data()) != static_cast<long>(list.size()))
      throw std::runtime_error{"io_submit"};
  }
  void get(std::vector<aio::io_event>& events) {
    const auto wanted = static_cast<long>(events.size());
    if (Side::get(ctx_, wanted, wanted, events.data()) != wanted) throw std::runtime_error{"io_getevents"};
  }

 private:
  aio::aio_context_t ctx_ = 0;
};

template <class Side>
void contexts_made(benchmark::State& state) {
  const std::vector<std::unique_ptr<used_context<Side>>> others = [&] {
    std::vector<std::unique_ptr<used_context<Side>>> made(size_of(state));
    for (auto& each : made) each = std::make_unique<used_context<Side>>();
    return made;
  }();
  for (auto _ : state) const used_context<Side> one;
}

/// A poll of an eventfd that is always, or never, readable.
class polled {
 public:
  explicit polled(bool is_ready) : request_{aio::prep_poll(efd_.fd(), POLLIN)} {
    if (is_ready) efd_.signal();
  }
  [[nodiscard]] const aio::iocb& request() const noexcept { return request_; }

 private:
  kernel_eventfd efd_;
  aio::iocb request_;
};

template <class Side>
void contexts_used(benchmark::State& state) {
  std::vector<std::unique_ptr<used_context<Side>>> all(size_of(state));
  for (auto& each : all) each = std::make_unique<used_context<Side>>();
  const polled ready{true};
  auto request = ready.request();
  std::vector<aio::io_event> event(1);
  std::size_t next = 0;
  for (auto _ : state) {
    all[next]->submit(request);
    all[next]->get(event);
    if (++next == all.size()) next = 0;
  }
}

template <class Side>
void requests_in_flight(benchmark::State& state) {
  const polled ready{true};
  const polled never{false};
  std::vector<aio::iocb> waiting(size_of(state), never.request());
  used_context<Side> ctx{static_cast<unsigned>(waiting.size() + 1)};
  for (auto& each : waiting) ctx.submit(each);
  auto request = ready.request();
  std::vector<aio::io_event> event(1);
  for (auto _ : state) {
    ctx.submit(request);
    ctx.get(event);
  }
}

constexpr std::size_t block = 4096;

base::unique_fd cached_file() {
  std::string name = "./bench-growth-XXXXXX";
  base::unique_fd file{::mkostemp(name.data(), O_CLOEXEC)};
  if (!file) throw std::runtime_error{"mkostemp"};
  ::unlink(name.c_str());
  const std::vector<char> text(block, 'x');
  if (::pwrite(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(block))
    throw std::runtime_error{"pwrite"};
  return file;
}

template <class Side>
void files_read(benchmark::State& state) {
  std::vector<base::unique_fd> files(size_of(state));
  for (auto& each : files) each = cached_file();
  std::vector<char> buffer(block);
  used_context<Side> ctx;
  std::vector<aio::io_event> event(1);
  std::size_t next = 0;
  for (auto _ : state) {
    auto request = aio::prep_pread(files[next].get(), buffer.data(), block, 0);
    ctx.submit(request);
    ctx.get(event);
    if (++next == files.size()) next = 0;
  }
}

/// Each thread submits a read of cached pages and fetches an event, of this read or of another thread's.
template <class Side>
void threads_read(benchmark::State& state) {
  static std::unique_ptr<used_context<Side>> ctx;
  static base::unique_fd file;
  if (state.thread_index() == 0) {
    ctx = std::make_unique<used_context<Side>>(64);
    file = cached_file();
  }
  std::vector<char> buffer(block);
  std::vector<aio::io_event> event(1);
  for (auto _ : state) {
    auto request = aio::prep_pread(file.get(), buffer.data(), block, 0);
    ctx->submit(request);
    ctx->get(event);
  }
  if (state.thread_index() == 0) ctx.reset();
}

template <class Side>
void completions_signal(benchmark::State& state) {
  const kernel_eventfd efd;
  const polled ready{true};
  std::vector<aio::iocb> requests(size_of(state), ready.request());
  std::vector<aio::iocb_abi*> list;
  for (auto& each : requests) {
    each.flags |= aio::iocb_abi::flag_resfd;
    each.resfd = static_cast<std::uint32_t>(efd.fd());
    list.push_back(&each);
  }
  used_context<Side> ctx{static_cast<unsigned>(requests.size())};
  std::vector<aio::io_event> events(requests.size());
  std::uint64_t counts = 0;
  for (auto _ : state) {
    ctx.submit(list);
    ctx.get(events);
    for (std::uint64_t left = requests.size(); left > 0;) {
      const auto some = efd.read();
      left -= some;
      counts += some;
    }
  }
  if (counts != static_cast<std::uint64_t>(state.iterations()) * requests.size())
    state.SkipWithError("a count for each completion was expected");
  report_each(state, requests.size());
}

BENCHMARK(notifiers_signal)->Name("growth/notifiers/doorbell")->Apply(up_to<1'000'000>);
BENCHMARK(notifiers_hup)->Name("growth/hup/doorbell")->Apply(up_to<1'000'000>)->UseManualTime();
BENCHMARK(eventfds_signal<eventfd>)->Name("growth/eventfds/doorbell")->Apply(up_to<10'000'000>);
BENCHMARK(eventfds_signal<kernel_eventfd>)->Name("growth/eventfds/kernel")->Apply(up_to_descriptors<1'000'000>);
BENCHMARK(eventfds_made<eventfd>)->Name("growth/eventfds_made/doorbell")->Apply(up_to<10'000'000>);
BENCHMARK(eventfds_made<kernel_eventfd>)->Name("growth/eventfds_made/kernel")->Apply(up_to_descriptors<1'000'000>);
BENCHMARK(contexts_made<of_doorbell>)->Name("growth/contexts_made/doorbell")->Apply(up_to<10'000>)->UseRealTime();
// io_destroy(2) takes 30 ms, so the kernel has at most 100 contexts here.
BENCHMARK(contexts_made<of_kernel>)->Name("growth/contexts_made/kernel")->Apply(up_to<100>)->UseRealTime();
BENCHMARK(contexts_used<of_doorbell>)->Name("growth/contexts_used/doorbell")->Apply(up_to<10'000>)->UseRealTime();
BENCHMARK(contexts_used<of_kernel>)->Name("growth/contexts_used/kernel")->Apply(up_to<100>)->UseRealTime();
BENCHMARK(requests_in_flight<of_doorbell>)
    ->Name("growth/in_flight/doorbell")
    ->Apply(up_to<10'000>)
    ->Arg(65'535)
    ->UseRealTime();
BENCHMARK(requests_in_flight<of_kernel>)->Name("growth/in_flight/kernel")->Apply(up_to<10'000>)->UseRealTime();
BENCHMARK(files_read<of_doorbell>)->Name("growth/files/doorbell")->Apply(up_to_descriptors<10'000>)->UseRealTime();
BENCHMARK(files_read<of_kernel>)->Name("growth/files/kernel")->Apply(up_to_descriptors<10'000>)->UseRealTime();
BENCHMARK(threads_read<of_doorbell>)->Name("growth/threads/doorbell")->ThreadRange(1, 16)->UseRealTime();
BENCHMARK(threads_read<of_kernel>)->Name("growth/threads/kernel")->ThreadRange(1, 16)->UseRealTime();
BENCHMARK(completions_signal<of_doorbell>)->Name("growth/completions/doorbell")->Apply(up_to<1'000>)->UseRealTime();
BENCHMARK(completions_signal<of_kernel>)->Name("growth/completions/kernel")->Apply(up_to<1'000>)->UseRealTime();

}  // namespace
}  // namespace doorbell::bench
