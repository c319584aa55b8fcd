// SPDX-License-Identifier: Apache-2.0
//
// running_crc: the CRC-32 of a file whose parts are added in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

namespace aio_copy {

class running_crc {
 public:
  void add_data(std::int64_t offset, std::span<const std::byte> data);
  void add_zeros(std::int64_t offset, std::int64_t size);

  /// The checksum, as used by gzip and zip, of all bytes before the first byte that has not been added yet.
  [[nodiscard]] std::uint32_t value() const noexcept { return value_; }
  /// The offset of that byte.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }

 private:
  struct part {
    std::int64_t size;
    std::uint32_t crc;
  };
  void add(std::int64_t offset, part added);

  std::map<std::int64_t, part> waiting_;  // parts that wait until all bytes before them have been added
  std::int64_t size_ = 0;
  std::uint32_t value_ = 0;
};

}  // namespace aio_copy
