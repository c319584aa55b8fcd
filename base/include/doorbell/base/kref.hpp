// SPDX-License-Identifier: Apache-2.0
//
// kref: a count of references that keep an object's memory alive. Whether the object may still be used is the matter of
// another count.
//
// Thread safety: all members may be called concurrently by callers that hold a reference; get_unless_zero() also by
// callers that know from a lock or RCU that the memory is still there.
// Memory ordering: put() releases everything that its caller did to the object. The put that returns true has acquired
// all of it, so the last holder may destroy the object without further synchronization.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cassert>
#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::base {

class kref {
 public:
  /// Starts with `references` references, held by the creator.
  explicit constexpr kref(std::uint32_t references = 1) noexcept : count_{references} {}
  kref(const kref&) = delete;
  kref& operator=(const kref&) = delete;

  /// Takes one more reference. The caller already holds one, so no ordering is needed.
  void get() noexcept {
    [[maybe_unused]] const auto before = count_.fetch_add(1, memory_order_relaxed);
    assert(before != 0 && "kref: get on a dead object");
  }

  /// Takes a reference unless the last one has been dropped.
  /// @return whether the caller now holds one.
  [[nodiscard]] bool get_unless_zero() noexcept {
    auto count = count_.load(memory_order_relaxed);
    do {
      if (count == 0) return false;
    } while (!count_.compare_exchange_weak(count, count + 1, memory_order_relaxed));
    return true;
  }

  /// Drops one reference.
  /// @return whether it was the last one: the caller alone then destroys the object.
  [[nodiscard]] bool put() noexcept {
    // Release pairs with the acquire of the put that reaches zero.
    const auto before = count_.fetch_sub(1, memory_order_acq_rel);
    assert(before != 0 && "kref: put without a reference");
    return before == 1;
  }

  /// The number of references, for tests and statistics; out of date as soon as it is read.
  [[nodiscard]] std::uint32_t read() const noexcept { return count_.load(memory_order_relaxed); }

 private:
  atomic<std::uint32_t> count_;
};

}  // namespace doorbell::base
