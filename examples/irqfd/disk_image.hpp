// SPDX-License-Identifier: Apache-2.0
//
// disk_image: a file whose blocks the device reads, and their content, for the guest to verify.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace irqfd {

class disk_image {
 public:
  /// A file, or, without a name, one of 4 MiB that is made for this run and is gone after it. Reads all of it. Throws
  /// an exception with a message for the user.
  explicit disk_image(const std::filesystem::path& path);
  disk_image(const disk_image&) = delete;
  disk_image& operator=(const disk_image&) = delete;
  ~disk_image();

  [[nodiscard]] int fd() const noexcept { return fd_; }
  /// Whole blocks.
  [[nodiscard]] std::uint64_t blocks() const noexcept { return sums_.size(); }
  [[nodiscard]] bool holds(std::uint64_t block, std::span<const std::byte> content) const;

 private:
  void fill();
  void read_all(const std::filesystem::path& path);

  int fd_;
  std::vector<std::size_t> sums_;  // of each block
};

}  // namespace irqfd
