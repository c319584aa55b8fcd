// SPDX-License-Identifier: Apache-2.0
#include "counters.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <new>

#include "../../aio/request/operation.hpp"

namespace doorbell::libaio {
namespace {

void raise_to(counters::number& most, std::int64_t now) noexcept {
  const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(now, 0));
  auto known = most.load();
  // equivalent fault (comparison): an equal value is stored once more
  while (known < value && !most.compare_exchange_weak(known, value)) {
  }
}

counters::number& of_errno(std::array<counters::number, counters::errnos>& table, std::int64_t answer) noexcept {
  return table[std::min<std::size_t>(static_cast<std::size_t>(-answer), counters::errnos - 1)];
}

void clear(auto&... numbers) noexcept { ((numbers = 0), ...); }
void clear_all(auto& table) noexcept {
  for (auto& each : table) each = 0;
}

// A member that the structured binding does not name is an error of the compiler.
void clear(counted_numbers& all) noexcept {
  auto& [contexts, requests, bytes_read, bytes_written, answers_by, cancelled, failed, in_flight, most_in_flight,
         longest_ns, refused, kernel_calls] = all;
  clear(contexts.made, contexts.open, contexts.most);
  clear_all(requests);
  clear(bytes_read, bytes_written);
  clear_all(answers_by);
  clear(cancelled);
  clear_all(failed);
  clear(in_flight, most_in_flight, longest_ns);
  for (auto& each : refused) clear_all(each);
  clear(kernel_calls);
}

}  // namespace

counters::family& counters::make_family() noexcept {
  constexpr int no_file = -1;
  void* const page = ::mmap(nullptr, sizeof(family), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, no_file, 0);
  if (page != MAP_FAILED) return *new (page) family;
  static family of_this_process;
  return of_this_process;
}

void counters::expect_child() noexcept { ++family_.processes; }

bool counters::leave_family() noexcept { return --family_.processes == 0 && !family_.has_called; }

void counters::called(call which, int answer, bool needs_the_kernel) noexcept {
  if (!family_.has_called.load(std::memory_order_relaxed)) family_.has_called = true;
  if (needs_the_kernel) ++kernel_calls;
  if (which == call::setup && answer == 0) {
    ++contexts.made;
    raise_to(contexts.most, ++contexts.open);
  }
  if (which == call::destroy && answer == 0) --contexts.open;
  const bool is_under_way = which == call::cancel && answer == -EINPROGRESS;
  if (answer < 0 && !is_under_way) ++of_errno(refused[static_cast<std::size_t>(which)], answer);
}

void counters::taken(const aio::iocb_abi& what) noexcept {
  ++requests[std::min<std::size_t>(what.lio_opcode, opcodes - 1)];
  raise_to(most_in_flight, ++in_flight);
}

void counters::given_back(const aio::iocb_abi& what) noexcept {
  --requests[std::min<std::size_t>(what.lio_opcode, opcodes - 1)];
  --in_flight;
}

// NOLINTNEXTLINE(bugprone-exception-escape): the histogram throws for columns of unequal lengths; this is one number
void counters::answered(const aio::iocb_abi& what, std::int64_t res, answered_by by, clock::duration after) noexcept {
  --in_flight;
  ++answers_by[static_cast<std::size_t>(by)];
  if (res == -ECANCELED || (res == 0 && aio::is_poll(what)))  // a cancelled poll has the result 0
    ++cancelled;
  else if (res < 0)
    ++of_errno(failed, res);
  else if (aio::is_transfer(what))
    (aio::is_read(what) ? bytes_read : bytes_written) += static_cast<std::uint64_t>(res);
  const auto ns = std::chrono::nanoseconds{after}.count();
  latencies_(static_cast<double>(ns));
  raise_to(longest_ns, ns);
}

std::chrono::nanoseconds counters::latency(double part) const {
  std::uint64_t all = 0;
  for (const auto& each : latencies_) all += each.value();
  const auto wanted = static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(all)));
  std::uint64_t seen = 0;
  for (auto&& each : boost::histogram::indexed(latencies_, boost::histogram::coverage::all)) {
    seen += (*each).value();
    if (seen < wanted) continue;
    const auto longest = static_cast<double>(longest_ns.load());
    return std::chrono::nanoseconds{static_cast<std::int64_t>(std::min(each.bin().upper(), longest))};
  }
  return {};
}

std::uint64_t counters::refused_calls() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& each : refused)
    for (const auto& by_errno : each) sum += by_errno;
  return sum;
}

// No other thread exists yet.
void counters::reset() noexcept {
  clear(static_cast<counted_numbers&>(*this));
  latencies_.reset();
}

}  // namespace doorbell::libaio
