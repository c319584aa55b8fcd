// SPDX-License-Identifier: Apache-2.0
//
// pass: one pass over a file, shared by the coroutines that process it. Each of them processes one block at a time.
// Thread safety: not thread-safe; used by the thread of the loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "progress.hpp"
#include "running_crc.hpp"
#include "segments.hpp"

namespace aio_copy {

class pass {
 public:
  /// The file to read.
  struct input {
    int fd;
    std::int64_t size;
    const std::filesystem::path& path;
  };

  pass(const std::string& doing, const input& from, std::int64_t block)
      : from_{from},
        segments_{from.fd, from.size, block},
        data_size_{count_data(from.fd, from.size)},
        progress_{doing, data_size_} {}

  [[nodiscard]] const input& from() const noexcept { return from_; }
  [[nodiscard]] std::int64_t data_size() const noexcept { return data_size_; }
  [[nodiscard]] std::uint32_t checksum() const noexcept { return crc_.value(); }
  [[nodiscard]] double seconds() const { return progress_.seconds(); }

  /// The next segment of data; nothing at the end. Skips holes, and adds them to the checksum.
  [[nodiscard]] std::optional<segment> next() {
    while (!stopped_) {
      const auto found = segments_.next();
      if (!found || !found->is_hole) return found;
      crc_.add_zeros(found->offset, found->size);
    }
    return std::nullopt;
  }

  /// Called after an operation has failed: next() then returns nothing.
  void stop() noexcept { stopped_ = true; }

  void has_read(std::int64_t offset, std::span<const std::byte> data) { crc_.add_data(offset, data); }
  void has_finished(std::int64_t bytes) { progress_.add(bytes); }

 private:
  const input from_;
  segments segments_;
  const std::int64_t data_size_;
  progress progress_;
  running_crc crc_;
  bool stopped_ = false;
};

}  // namespace aio_copy
