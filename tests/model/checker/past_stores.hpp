// SPDX-License-Identifier: Apache-2.0
//
// past_stores: the stores to one atomic, in its modification order, and which of them a thread may still read. A load
// may return an older store unless the thread knows of a later one: because it has stored or read that one itself, or
// because such a store or read happens before the load. (As in the view-based machines of the literature: Kang, Hur,
// Lahav, Vafeiadis, Dreyer: A promising semantics for relaxed-memory concurrency, POPL 2017, without its promises. Here
// vector clocks represent the views.)
//
// A store may likewise be inserted before stores that its thread does not know of, but not between a read-modify-write
// and the store that it has read. Each seq_cst operation on the atomic knows the earlier ones.
//
// An age counts from the end: 0 is the latest store, 1 the one before it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vector_clock.hpp"

namespace doorbell::model {

/// The result of a load: a value, and the clock that an acquire gets with it.
struct past_store {
  std::uint64_t value = 0;
  vector_clock released;
  bool is_rmw = false;  // a read-modify-write, which has read the store before it
};

class past_stores {
 public:
  /// The thread that loads or stores, and its knowledge of earlier stores.
  struct accessor {
    thread_id thread;
    const vector_clock& happened;
    bool seq_cst;
  };

  /// Makes `only` the only store, which all threads know.
  void begin(const past_store& only) {
    stores_.assign(1, only);
    known_.clear();
    last_seq_cst_ = 0;
  }
  [[nodiscard]] bool empty() const noexcept { return stores_.empty(); }

  [[nodiscard]] const past_store& at(unsigned age) const noexcept { return stores_[index_of(age)]; }
  /// The age of the oldest store that the accessor may read, or store after.
  [[nodiscard]] unsigned most_age(const accessor& who) const noexcept {
    auto index = who.seq_cst ? last_seq_cst_ : 0;
    for (const auto& each : known_)
      if (knows(who, each)) index = std::max(index, each.index);
    return static_cast<unsigned>(stores_.size() - 1 - index);
  }
  /// Whether a store may be inserted directly after the store of that age.
  [[nodiscard]] bool is_open(unsigned age) const noexcept { return age == 0 || !at(age - 1).is_rmw; }

  void read(const accessor& who, unsigned age) { note(who, index_of(age)); }

  /// Inserts a store directly after the store of that age.
  void store(const accessor& who, unsigned age, const past_store& made) {
    const auto index = index_of(age) + 1;
    stores_.insert(stores_.begin() + index, made);
    for (auto& each : known_)
      if (each.index >= index) ++each.index;
    if (last_seq_cst_ >= index) ++last_seq_cst_;
    note(who, index);
  }

 private:
  /// A store that a thread has read or made, and the time of the thread's clock.
  struct known_store {
    thread_id by;
    std::uint32_t clock;
    unsigned index;
  };

  static bool knows(const accessor& who, const known_store& what) noexcept {
    return what.by == who.thread || what.clock <= who.happened.of(what.by);
  }
  [[nodiscard]] unsigned index_of(unsigned age) const noexcept {
    return static_cast<unsigned>(stores_.size() - 1 - age);
  }
  void note(const accessor& who, unsigned index) {
    if (who.seq_cst) last_seq_cst_ = std::max(last_seq_cst_, index);
    const auto now = who.happened.of(who.thread);
    for (auto& each : known_) {
      if (each.by != who.thread || each.clock != now) continue;
      each.index = std::max(each.index, index);
      return;
    }
    known_.push_back({.by = who.thread, .clock = now, .index = index});
  }

  std::vector<past_store> stores_;
  std::vector<known_store> known_;
  unsigned last_seq_cst_ = 0;  // the latest store that a seq_cst operation has made or read
};

}  // namespace doorbell::model
