// SPDX-License-Identifier: Apache-2.0
//
// percpu_ref: who uses an object that may be shut at any time. While it lives, a get or a put is one read-modify-write on
// the caller's own cache line; kill() gathers the count into one word, where the put that gets to zero can be told.
//
//   percpu mode:  shards |closed? count|...   gets and puts of the CPUs, each shard by itself may be negative
//                 count_ = bias + 1           the 1 is the initial reference, which belongs to the owner
//   kill:         dying_ = true; each shard is closed and read by one exchange; count_ += sum - bias; initial put
//   atomic mode:  shards closed               count_ is the number of references; 0: release has run, once
//
// The kernel's percpu_ref reads its mode in an RCU section and switches with a grace period. Here the mode is a bit in
// each shard: the RMW that counts is the one that finds out whether it counted. So get and put need no section, half
// their price, and kill() does not block.
//
//   get or put                           kill
//   shard += 1 or -= 1; was it open?     shard.exchange(closed)
//   open: done                           sum += what it was
//   closed: count_ += 1 or -= 1
//
//   legal:     its RMW comes before the exchange: it is in the sum. Or after: it finds the shard closed, and is in
//              count_. Whatever is added to a closed shard nobody reads.
//   forbidden: in both, or in neither. A shard has one modification order.
//
//   put, of what was taken on shard 1    kill
//                                        closes shard 0
//   shard 0 is closed: count_ -= 1
//                                        closes shard 1, finds the get; count_ += sum - bias
//                                        initial put: count_ -= 1
//
//   legal:     the put, the last as it seems, leaves count_ at the bias, and the initial put gets to zero.
//   forbidden: zero before the sum is in. Hence the bias, larger than any count, taken off by the very addition that
//              brings the sum in; and hence the initial reference, given back after that: it is what keeps the addition
//              itself from getting to zero with nobody to see it.
//
//   lookup                               owner
//   rcu_read_guard reading;              takes the object out of the table
//   object = table.load(reading)         kill(); the last put runs release
//   tryget_live()                        rcu_synchronize(), frees
//   ~rcu_read_guard
//
//   legal:     tryget_live before kill: release waits for its put. After: it fails. Either way it touched memory that
//              the section kept.
//   forbidden: get in its place raises 0 to 1, and the caller holds a reference to what is being freed. And a try outside
//              a section touches freed memory only to be told no.
//
// What callers may touch: a holder of a reference, everything, until its put. A tryer that was refused, nothing. After a
// put or kill the object may be gone. release is the last that touches the count: it may hand the object to whoever
// frees it, but frees it itself only after a grace period, if there are tries.
//
// Thread safety: all members, at once: get() and put() by holders; the tries and kill() by holders, or with a section
// or a lock that keeps the memory.
// Memory ordering: put() releases; release runs after an acquire of all puts. A try orders nothing: that the object is
// built one knows from where the pointer was found (rcu_pointer).
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
  /// Called by the put (or kill) that gave the last reference back, in its thread.
  using release_function = void (*)(percpu_ref& ref) noexcept;

  /// Starts with the initial reference, held by the owner, which kill() gives back.
  /// @throws std::bad_alloc
  explicit percpu_ref(release_function release);
  /// Released, or never killed and never shared.
  ~percpu_ref() = default;
  percpu_ref(const percpu_ref&) = delete;
  percpu_ref& operator=(const percpu_ref&) = delete;

  /// Takes one more reference. The caller holds one already.
  void get() noexcept {
    if (!was_open(my_shard().fetch_add(1, memory_order_relaxed))) [[unlikely]]
      get_counted();
  }

  /// Takes a reference unless the last one has gone; also while dying.
  /// @return whether the caller now holds one.
  [[nodiscard]] bool tryget() noexcept {
    return was_open(my_shard().fetch_add(1, memory_order_relaxed)) || tryget_counted();
  }

  /// Takes a reference unless it is dying. What lookups use.
  /// @return whether the caller now holds one.
  [[nodiscard]] bool tryget_live() noexcept {
    return !is_dying() && was_open(my_shard().fetch_add(1, memory_order_relaxed));
  }

  /// Gives a reference back; by any thread, also one that did not take it.
  void put() noexcept {
    // Release pairs with the acquire of the exchange in kill().
    if (!was_open(my_shard().fetch_sub(1, memory_order_release))) [[unlikely]]
      put_counted();
  }

  /// Ends the giving of references to tryers and gives the initial one back, which may run release. Does not block.
  /// Once it has returned, tryget_live() fails; so it does for whoever has seen is_dying().
  /// @return whether this was the call that did it; false: another one did or is still at it.
  [[nodiscard]] bool kill() noexcept;

  /// Whether somebody has called kill(). Orders nothing.
  [[nodiscard]] bool is_dying() const noexcept { return dying_.load(memory_order_relaxed); }

 private:
  struct alignas(64) shard {
    atomic<std::int64_t> count{0};
  };

  static constexpr std::size_t most_shards = 64;
  // Numbers so far apart that counting, in either direction, does not get from one to the other.
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

  atomic<bool> dying_{false};             // never cleared
  atomic<std::int64_t> count_{bias + 1};  // what came after the shards were closed
};

}  // namespace doorbell::base
