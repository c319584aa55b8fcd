// SPDX-License-Identifier: Apache-2.0
#include "running_crc.hpp"

#include <zlib.h>

namespace aio_copy {
namespace {

std::uint32_t append(std::uint32_t first, std::uint32_t second, std::int64_t second_size) {
  return static_cast<std::uint32_t>(::crc32_combine(first, second, second_size));
}

// Doubles the number of zeros in each step, so that a hole of gigabytes takes about thirty steps.
std::uint32_t crc_of_zeros(std::int64_t size) {
  const Bytef zero = 0;
  std::uint32_t sum = 0;
  auto piece = static_cast<std::uint32_t>(::crc32(0, &zero, 1));
  for (std::int64_t bit = 1; bit <= size; bit *= 2) {
    if (size & bit) sum = append(sum, piece, bit);
    piece = append(piece, piece, bit);
  }
  return sum;
}

}  // namespace

void running_crc::add_data(std::int64_t offset, std::span<const std::byte> data) {
  const auto* const bytes = reinterpret_cast<const Bytef*>(data.data());
  add(offset, {.size = static_cast<std::int64_t>(data.size()),
               .crc = static_cast<std::uint32_t>(::crc32_z(0, bytes, data.size()))});
}

void running_crc::add_zeros(std::int64_t offset, std::int64_t size) {
  add(offset, {.size = size, .crc = crc_of_zeros(size)});
}

void running_crc::add(std::int64_t offset, part added) {
  waiting_.emplace(offset, added);
  for (auto first = waiting_.begin(); first != waiting_.end() && first->first == size_; first = waiting_.erase(first)) {
    value_ = append(value_, first->second.crc, first->second.size);
    size_ += first->second.size;
  }
}

}  // namespace aio_copy
