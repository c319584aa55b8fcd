// SPDX-License-Identifier: Apache-2.0
//
// disk_image: a file whose blocks the device reads, and a checksum of each block, so that the guest can verify it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace irqfd {

class disk_image {
 public:
  /// Opens `path`, or, if it is empty, creates a temporary file of 4 MiB. Reads the whole file. Throws an exception
  /// with a message for the user.
  explicit disk_image(const std::filesystem::path& path);
  disk_image(const disk_image&) = delete;
  disk_image& operator=(const disk_image&) = delete;
  ~disk_image();

  [[nodiscard]] int fd() const noexcept { return fd_; }
  /// The number of whole blocks.
  [[nodiscard]] std::uint64_t blocks() const noexcept { return sums_.size(); }
  [[nodiscard]] bool holds(std::uint64_t block, std::span<const std::byte> content) const;

 private:
  void fill();
  void read_all(const std::filesystem::path& path);

  int fd_;
  std::vector<std::size_t> sums_;  // a checksum of each block
};

}  // namespace irqfd
