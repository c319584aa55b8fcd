// SPDX-License-Identifier: Apache-2.0
#include "segments.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace aio_copy {

std::optional<segment> segments::next() noexcept {
  if (at_ >= size_) return std::nullopt;
  if (at_ >= data_end_) find_data();
  const bool is_hole = at_ < data_begin_;
  const auto end = is_hole ? data_begin_ : std::min(at_ + block_, data_end_);
  const segment found{.offset = at_, .size = end - at_, .is_hole = is_hole};
  at_ = end;
  return found;
}

// A file system that does not support SEEK_DATA reports EINVAL; the rest is then treated as data. ENXIO means that
// there is no more data.
void segments::find_data() noexcept {
  const auto begin = ::lseek(fd_, at_, SEEK_DATA);
  const bool none_left = begin < 0 && errno == ENXIO;
  data_begin_ = none_left ? size_ : std::clamp(begin, at_, size_);
  const auto end = begin < 0 ? size_ : ::lseek(fd_, data_begin_, SEEK_HOLE);
  data_end_ = end > data_begin_ ? std::min(end, size_) : size_;
}

std::int64_t count_data(int fd, std::int64_t size) noexcept {
  std::int64_t sum = 0;
  segments all{fd, size, size};
  while (const auto found = all.next())
    if (!found->is_hole) sum += found->size;
  return sum;
}

}  // namespace aio_copy
