// SPDX-License-Identifier: Apache-2.0
//
// The descriptors that requests of the fuzzer name. All were created here, or are numbers that cannot be in use: never
// 0 to 2, and never a number that may refer to another file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::fuzz {

enum class file : std::uint8_t {
  // Streams: the data in them changes.
  pipe,
  unblocking_pipe,
  eventfd,
  socket,
  // Requests for these never end, or end immediately.
  pipe_writer,
  timer,
  inotify,
  null_device,
  zeroes,
  // Stores: requests end by themselves.
  memory_file,
  disk_file,
  read_only_file,
  write_only_file,
  // These cannot be read or written.
  directory,
  epoll,
  path,
  closed,
  never_made,
  negative,
};
constexpr std::size_t stream_count = 4;
constexpr std::size_t made_files = static_cast<std::size_t>(file::path) + 1;
constexpr std::size_t file_count = static_cast<std::size_t>(file::negative) + 1;

[[nodiscard]] constexpr bool is_store(file one) noexcept {
  return one >= file::memory_file && one <= file::write_only_file;
}

class aio_files {
 public:
  aio_files();

  [[nodiscard]] int descriptor(file one) const noexcept;

  /// Before each input: new streams, and files that are short again.
  void renew();
  /// Gives a stream something to read.
  void fill(std::size_t stream) noexcept;
  /// Reads all that is there.
  void empty(std::size_t stream) noexcept;
  /// Closes the writing end.
  void hang_up(std::size_t stream) noexcept { writers_.at(stream).reset(); }
  /// Closes the reading end: its number may be used again while requests are still in flight.
  void close(std::size_t stream) noexcept { made_.at(stream).reset(); }

 private:
  [[nodiscard]] base::unique_fd& at(file one) noexcept { return made_[static_cast<std::size_t>(one)]; }

  std::array<base::unique_fd, made_files> made_;
  std::array<base::unique_fd, stream_count> writers_;
};

}  // namespace doorbell::fuzz
