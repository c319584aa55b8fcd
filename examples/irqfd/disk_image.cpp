// SPDX-License-Identifier: Apache-2.0
#include "disk_image.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "disk_queue.hpp"

namespace irqfd {
namespace {

constexpr int made_blocks = 1024;

using block_content = std::array<std::byte, block_size>;

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw std::system_error{errno, std::generic_category(), std::string{what} + " '" + path.string() + "'"};
}

int open_image(const std::filesystem::path& path) {
  const bool made = path.empty();
  const auto folder = std::filesystem::temp_directory_path();
  const int fd = made ? ::open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, S_IRUSR | S_IWUSR)
                      : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(made ? "cannot make an image in" : "cannot open", made ? folder : path);
  return fd;
}

std::size_t sum(std::span<const std::byte> content) {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(content.data()), content.size()});
}

}  // namespace

disk_image::disk_image(const std::filesystem::path& path) : fd_{open_image(path)} {
  try {
    if (path.empty()) fill();
    read_all(path);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

disk_image::~disk_image() { ::close(fd_); }

bool disk_image::holds(std::uint64_t block, std::span<const std::byte> content) const {
  return sums_.at(block) == sum(content);
}

void disk_image::fill() {
  std::minstd_rand random{std::random_device{}()};
  block_content content{};
  for (int i = 0; i < made_blocks; ++i) {
    for (auto& byte : content) byte = static_cast<std::byte>(random());
    if (::write(fd_, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
      fail("cannot make", "the image");
  }
}

void disk_image::read_all(const std::filesystem::path& path) {
  block_content content{};
  for (off_t at = 0;; at += static_cast<off_t>(content.size())) {
    const auto bytes = ::pread(fd_, content.data(), content.size(), at);
    if (bytes < 0) fail("cannot read", path);
    if (static_cast<std::size_t>(bytes) < content.size()) break;
    sums_.push_back(sum(content));
  }
  if (sums_.empty()) throw std::runtime_error{"'" + path.string() + "' has no whole block of 4096 bytes"};
}

}  // namespace irqfd
