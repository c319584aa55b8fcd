// SPDX-License-Identifier: Apache-2.0
//
// race_detector: detects data races: two accesses to the same memory, one of them a write and not both atomic, of which
// neither happens before the other. Happens-before is that of C++: it follows from the memory orders in the code, not
// from the schedule. Freeing counts as a write of the whole block, so memory that is freed too early is detected also
// in schedules in which it did no harm.
//
// For each byte of the arena and each thread, a record holds the thread's clock at its last access of each kind. Stacks
// and mappings have no such record. Accesses of other threads to a stack are recorded, and compared with later ones of
// its owner. In a mapping, the accesses of all threads are recorded and compared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arena.hpp"
#include "vector_clock.hpp"

namespace doorbell::model {

enum class access_kind : std::uint8_t { read, write, atomic };

/// The thread that accesses memory, and what happened before.
struct accessor {
  thread_id thread;
  const vector_clock& happened;
};

class race_detector {
 public:
  explicit race_detector(const arena& heap);

  /// An access to live memory of the arena.
  void access(const accessor& me, const void* at, std::size_t bytes, access_kind how) noexcept;
  /// Clears the record of memory of the arena that has just been allocated.
  void begin(const void* at, std::size_t bytes) noexcept;

 private:
  using clock = std::uint16_t;
  static constexpr std::size_t kinds = 3;
  struct history {
    std::array<std::array<clock, max_threads>, kinds> last;
  };

  static bool is_race(access_kind now, access_kind before) noexcept {
    if (now == access_kind::atomic && before == access_kind::atomic) return false;
    return now != access_kind::read || before != access_kind::read;
  }
  void compare(const accessor& me, const history& known, const void* at, access_kind how) const noexcept;

  const arena& heap_;
  history* const histories_;
};

/// Recorded accesses to memory that has no record for each byte.
class sparse_accesses {
 public:
  void clear() noexcept { all_.clear(); }
  /// Compares the access with earlier ones, and records it for later ones.
  void add(const accessor& who, const void* at, std::size_t bytes, access_kind how) noexcept;
  void compare(const accessor& me, const void* at, std::size_t bytes, access_kind how) const noexcept {
    if (!all_.empty()) [[unlikely]]
      compare_all(me, at, bytes, how);
  }

 private:
  struct seen {
    const std::byte* begin;
    const std::byte* end;
    thread_id thread;
    std::uint32_t clock;
    access_kind how;
  };
  void compare_all(const accessor& me, const void* at, std::size_t bytes, access_kind how) const noexcept;

  std::vector<seen> all_;
};

}  // namespace doorbell::model
