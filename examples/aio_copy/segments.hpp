// SPDX-License-Identifier: Apache-2.0
//
// segments: divides a file into data and holes.
#pragma once

#include <cstdint>
#include <optional>

namespace aio_copy {

struct segment {
  std::int64_t offset;
  std::int64_t size;
  bool is_hole;
};

/// Iterates over a file from its start to its end: data in segments of at most `block` bytes, and each hole as one
/// segment.
class segments {
 public:
  segments(int fd, std::int64_t size, std::int64_t block) noexcept : fd_{fd}, size_{size}, block_{block} {}

  /// The next segment; nothing at the end of the file.
  [[nodiscard]] std::optional<segment> next() noexcept;

 private:
  void find_data() noexcept;

  int fd_;
  std::int64_t size_;
  std::int64_t block_;
  std::int64_t at_ = 0;
  std::int64_t data_begin_ = 0;  // the start of the next data
  std::int64_t data_end_ = 0;
};

/// The number of bytes of a file that are data.
[[nodiscard]] std::int64_t count_data(int fd, std::int64_t size) noexcept;

}  // namespace aio_copy
