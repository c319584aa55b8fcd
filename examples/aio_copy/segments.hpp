// SPDX-License-Identifier: Apache-2.0
//
// A file as data and holes.
#pragma once

#include <cstdint>
#include <optional>

namespace aio_copy {

struct segment {
  std::int64_t offset;
  std::int64_t size;
  bool is_hole;
};

/// Cuts a file into data of at most a block, and holes as long as they are, from its start to its end.
class segments {
 public:
  segments(int fd, std::int64_t size, std::int64_t block) noexcept : fd_{fd}, size_{size}, block_{block} {}

  [[nodiscard]] std::optional<segment> next() noexcept;

 private:
  void find_data() noexcept;

  int fd_;
  std::int64_t size_;
  std::int64_t block_;
  std::int64_t at_ = 0;
  std::int64_t data_begin_ = 0;  // of the data that comes next
  std::int64_t data_end_ = 0;
};

/// How many bytes of a file are data.
[[nodiscard]] std::int64_t count_data(int fd, std::int64_t size) noexcept;

}  // namespace aio_copy
