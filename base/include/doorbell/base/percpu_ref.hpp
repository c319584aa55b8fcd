// SPDX-License-Identifier: Apache-2.0
//
// percpu_ref: counts the users of an object that may be shut down at any time. While the object is live, a get or a put
// is one read-modify-write on the caller's own cache line. kill() gathers the counts into one word, in which the put
// that reaches zero is recognized.
//
//   percpu mode:  shards |closed? count|...   gets and puts of the CPUs, each shard by itself may be negative
//                 count_ = bias + 1           the 1 is the initial reference, which belongs to the owner
//   kill:         dying_ = true; each shard is closed and read by one exchange; count_ += sum - bias; initial put
//   atomic mode:  shards closed               count_ is the number of references; 0: release has run, once
//
// The kernel's percpu_ref reads its mode in an RCU section and changes it with a grace period. Here the mode is a bit
// in each shard: the read-modify-write that counts also tells whether it counted. So get and put need no RCU section,
// which halves their cost, and kill() does not block.
//
//   get or put                           kill
//   shard += 1 or -= 1; was it open?     shard.exchange(closed)
//   open: done                           sum += the old count
//   closed: count_ += 1 or -= 1
//
//   legal:     the read-modify-write comes before the exchange: it is in the sum. Or after: it finds the shard closed,
//              and is in count_. No thread uses the count of a closed shard.
//   forbidden: it is in both, or in neither. A shard has one modification order.
//
//   put; its get was on shard 1          kill
//                                        closes shard 0
//   shard 0 is closed: count_ -= 1
//                                        closes shard 1, finds the get; count_ += sum - bias
//                                        initial put: count_ -= 1
//
//   legal:     the put, apparently the last one, leaves count_ at the bias, and the initial put reaches zero.
//   forbidden: count_ reaches zero before the sum is added. To prevent it, the bias is larger than any count, and the
//              same addition that adds the sum subtracts the bias. The initial reference is dropped after that: it
//              keeps the addition itself, which calls no release, from reaching zero.
//
//   lookup                               owner
//   rcu_read_guard reading;              removes the object from the table
//   object = table.load(reading)         kill(); the last put runs release
//   tryget_live()                        rcu_synchronize(), frees
//   ~rcu_read_guard
//
//   legal:     tryget_live before kill: release waits for its put. After: it fails. In both cases the RCU section kept
//              the memory that it touched.
//   forbidden: get() instead of tryget_live() raises 0 to 1, and the caller holds a reference to an object that is
//              being freed. A try outside a section touches freed memory, even if it fails.
//
// Access: a holder of a reference may touch everything until its put. A caller whose try failed may touch nothing. The
// object may have been freed after a put or kill. release is the last to touch the count: it may pass the object to the
// thread that frees it, but if there are tries, it must not free the object itself before a grace period has passed.
//
// Thread safety: all members may be called concurrently: get() and put() by holders; the tries and kill() by holders,
// or within an RCU section or a lock that keeps the memory.
// Memory ordering: put() releases; release runs after an acquire of all puts. A try orders nothing: the pointer to the
// object (rcu_pointer) orders its construction before its use.
// Memory: a cache line for itself, and one for each possible CPU, rounded up to a power of two and at most 64 (4 KiB).
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/this_cpu.hpp>

namespace doorbell::base {

class alignas(64) percpu_ref {
 public:
  /// Called by the put() or kill() that dropped the last reference, in its thread.
  using release_function = void (*)(percpu_ref& ref) noexcept;

  /// Starts with the initial reference, held by the owner, which kill() drops.
  /// @throws std::bad_alloc
  explicit percpu_ref(release_function release);
  /// Only after release has run, or if the object has been neither killed nor shared.
  ~percpu_ref() = default;
  percpu_ref(const percpu_ref&) = delete;
  percpu_ref& operator=(const percpu_ref&) = delete;

  /// Takes one more reference. The caller already holds one.
  void get() noexcept {
    if (!was_open(my_shard().fetch_add(1, memory_order_relaxed))) [[unlikely]]
      get_counted();
  }

  /// Takes a reference unless the last one has been dropped; also while the object is dying.
  /// @return whether the caller now holds one.
  [[nodiscard]] bool tryget() noexcept {
    return was_open(my_shard().fetch_add(1, memory_order_relaxed)) || tryget_counted();
  }

  /// Takes a reference unless the object is dying. For lookups.
  /// @return whether the caller now holds one.
  [[nodiscard]] bool tryget_live() noexcept {
    return !is_dying() && was_open(my_shard().fetch_add(1, memory_order_relaxed));
  }

  /// Drops a reference. The thread may differ from the one that took it.
  void put() noexcept {
    // Release pairs with the acquire of the exchange in kill().
    if (!was_open(my_shard().fetch_sub(1, memory_order_release))) [[unlikely]]
      put_counted();
  }

  /// Makes tryget_live() fail and drops the initial reference, which may run release. Does not block. tryget_live()
  /// fails after the return of this call, and in each thread that has seen is_dying().
  /// @return whether this call killed the object; false: another call did, or is about to.
  [[nodiscard]] bool kill() noexcept;

  /// Whether kill() has been called. Orders nothing.
  [[nodiscard]] bool is_dying() const noexcept { return dying_.load(memory_order_relaxed); }

 private:
  struct alignas(64) shard {
    atomic<std::int64_t> count{0};
  };

  static constexpr std::size_t most_shards = 64;
  // So large that counting in either direction never turns an open shard into a closed one, or the bias into 0.
  static constexpr std::int64_t closed = std::int64_t{1} << 62;
  static constexpr std::int64_t bias = std::int64_t{1} << 62;

  // equivalent fault (comparison, constant): no count gets near to a half or a third of `closed`
  static bool was_open(std::int64_t before) noexcept { return before < closed / 2; }
  atomic<std::int64_t>& my_shard() noexcept { return shards_[this_cpu() & mask_].count; }

  void get_counted() noexcept;
  [[nodiscard]] bool tryget_counted() noexcept;
  void put_counted() noexcept;
  [[nodiscard]] std::int64_t close_shards() noexcept;

  const std::size_t mask_;  // the number of shards less 1
  const std::unique_ptr<shard[]> shards_;
  const release_function release_;

  atomic<bool> dying_{false};  // never cleared
  // Changed by gets and puts that found their shard closed; kill() adds the sum of the shards, and subtracts the bias.
  atomic<std::int64_t> count_{bias + 1};
};

}  // namespace doorbell::base
