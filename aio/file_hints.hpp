// SPDX-License-Identifier: Apache-2.0
//
// file_hints: what a descriptor's file was the last time it was looked at, so that submit need not ask for each request.
//
// A hint is about time, never about answers: whatever it says, the same bytes go to the same place, and at worst a call
// takes longer than it had to. So one that is out of date (the number closed and used again, O_DIRECT switched on) does no
// harm, and is found out after a few dozen requests.
//
// Thread safety: all, at once. An entry is one word, and its loss or its overwriting is no harm either.
#pragma once

#include <array>
#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

class file_hints {
 public:
  enum class kind : std::uint8_t {
    other,   ///< ask nothing of it beforehand
    cached,  ///< through the page cache: what is in it can be read at once
    memory,  ///< in memory altogether, as tmpfs is: it can be read and written at once
    direct,  ///< O_DIRECT, on a disk: what the kernel's AIO carries out asynchronously
  };

  /// What `fd` names; `other`, too, for a cached one that has been missed of late, now and then.
  [[nodiscard]] kind of(int fd) noexcept;

  /// Whether a read of such a file may be answered without waiting.
  [[nodiscard]] static bool may_be_hot(kind what) noexcept { return what == kind::cached || what == kind::memory; }

  /// What came of a try to read a cached one at once. The more tries in a row are in vain, the rarer they get.
  void hit(int fd) noexcept;
  void missed(int fd) noexcept;
  /// Whether several tries in a row, up to the last one, have found all in the cache.
  [[nodiscard]] bool is_hit_in_a_row(int fd) noexcept;

  static constexpr std::int8_t enough_hits = 8;

 private:
  struct entry {
    std::int32_t fd = -1;
    kind what = kind::other;
    std::uint8_t uses = 0;  // left, until it is looked at again
    // Misses in a row, as a number of requests to leave out, all its bits are ones; or hits in a row, negative.
    std::int8_t row = 0;
    std::uint8_t skip = 0;  // of the requests to leave out, how many are left
  };
  static constexpr std::size_t size = 32;
  static constexpr std::uint8_t most_uses = 64;
  static constexpr std::int8_t most_misses = 15;

  [[nodiscard]] base::atomic<std::uint64_t>& at(int fd) noexcept { return entries_[static_cast<unsigned>(fd) % size]; }
  [[nodiscard]] entry load(int fd) noexcept;
  void store(const entry& known) noexcept;

  std::array<base::atomic<std::uint64_t>, size> entries_{};
};

}  // namespace doorbell::aio
