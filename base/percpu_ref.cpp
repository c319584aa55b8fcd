// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/percpu_ref.hpp>

#include <algorithm>
#include <bit>
#include <cassert>
#include <span>

namespace doorbell::base {

percpu_ref::percpu_ref(release_function release)
    : mask_{std::min(std::bit_ceil(std::size_t{possible_cpus()}), most_shards) - 1},
      shards_{std::make_unique<shard[]>(mask_ + 1)},
      release_{release} {}

bool percpu_ref::kill() noexcept {
  if (dying_.exchange(true, memory_order_relaxed)) return false;
  const auto sum = close_shards();
  [[maybe_unused]] const auto before = count_.fetch_add(sum - bias, memory_order_relaxed);
  assert(before + (sum - bias) > 0 && "percpu_ref: put without a reference");
  put_counted();
  return true;
}

std::int64_t percpu_ref::close_shards() noexcept {
  std::int64_t sum = 0;
  // Acquire pairs with the release of each put on that shard. The initial put passes the order on to the put that
  // reaches zero.
  for (auto& each : std::span{shards_.get(), mask_ + 1}) sum += each.count.exchange(closed, memory_order_acquire);
  return sum;
}

void percpu_ref::get_counted() noexcept {
  [[maybe_unused]] const auto before = count_.fetch_add(1, memory_order_relaxed);
  assert(before != 0 && "percpu_ref: get on a dead object");
}

bool percpu_ref::tryget_counted() noexcept {
  auto count = count_.load(memory_order_relaxed);
  do {
    if (count == 0) return false;
  } while (!count_.compare_exchange_weak(count, count + 1, memory_order_relaxed));
  return true;
}

void percpu_ref::put_counted() noexcept {
  // Release pairs with the acquire of the put that reaches zero.
  const auto before = count_.fetch_sub(1, memory_order_acq_rel);
  assert(before > 0 && "percpu_ref: put without a reference");
  if (before == 1) release_(*this);
}

}  // namespace doorbell::base
