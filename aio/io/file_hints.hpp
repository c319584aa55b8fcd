// SPDX-License-Identifier: Apache-2.0
//
// file_hints: caches the kind of the file that a descriptor refers to, so that submit need not look it up for each
// request.
//
// A hint affects the time of a call, never its result: whatever the hint, the same bytes are transferred to the same
// place, and at worst a call takes longer. So a stale hint (the number was closed and reused, or O_DIRECT was set) does
// no harm, and is replaced after a few dozen requests.
//
// Thread safety: all members may be called concurrently. An entry is one word; a lost or overwritten entry does no
// harm.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

class file_hints {
 public:
  enum class kind : std::uint8_t {
    other,   ///< do not try to read it inline
    cached,  ///< uses the page cache: data that is in the cache can be read inline
    memory,  ///< all in memory, for example in a tmpfs: can be read and written inline
    direct,  ///< O_DIRECT, on a disk: the kernel's AIO carries out its requests asynchronously
  };

  /// The kind of the file that `fd` refers to. Sometimes `other` for a cached file whose last reads have missed the
  /// cache.
  [[nodiscard]] kind of(int fd) noexcept;

  /// Whether a read of such a file may complete without waiting.
  [[nodiscard]] static bool may_be_hot(kind what) noexcept { return what == kind::cached || what == kind::memory; }

  /// Records the result of an inline read of a cached file. The more misses in a row, the rarer the next attempts.
  void hit(int fd) noexcept;
  void missed(int fd) noexcept;
  /// Whether at least the last `enough_hits` inline reads have all hit the cache.
  [[nodiscard]] bool has_hits_in_a_row(int fd) noexcept;

  static constexpr std::int8_t enough_hits = 8;
  /// The number of places. Descriptors whose numbers differ by a multiple of it share a place: if requests for them
  /// alternate, each request looks up the kind of its file.
  static constexpr std::size_t size = 512;

 private:
  struct entry {
    std::int32_t fd = -1;
    kind what = kind::other;
    std::uint8_t uses = 0;  // left until the kind is looked up again
    // If positive: misses in a row, as the number of requests to skip (1, 3, 7, 15). If negative: hits in a row.
    std::int8_t row = 0;
    std::uint8_t skip = 0;  // how many requests are still to be skipped
  };
  static constexpr std::uint8_t most_uses = 64;
  static constexpr std::int8_t most_misses = 15;

  [[nodiscard]] base::atomic<std::uint64_t>& at(int fd) noexcept { return entries_[static_cast<unsigned>(fd) % size]; }
  [[nodiscard]] entry load(int fd) noexcept;
  void store(const entry& known) noexcept;

  std::array<base::atomic<std::uint64_t>, size> entries_{};
};

}  // namespace doorbell::aio
