// SPDX-License-Identifier: Apache-2.0
//
// The descriptors that the fuzzer's requests name. This class has created them, or they are numbers that cannot be in
// use: never 0 to 2, and never a number that may refer to another file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::fuzz {

enum class file : std::uint8_t {
  // Streams: the data in them changes.
  pipe,
  nonblocking_pipe,
  eventfd,
  socket,
  // Requests for these never complete, or complete immediately.
  pipe_writer,
  timer,
  inotify,
  null_device,
  zeroes,
  // Stores: requests complete by themselves.
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

  /// Creates new streams, and truncates the stores. Called before each input.
  void renew();
  /// Writes data to a stream.
  void fill(std::size_t stream) noexcept;
  /// Reads the data of a stream.
  void empty(std::size_t stream) noexcept;
  /// Closes the writing end.
  void hang_up(std::size_t stream) noexcept { writers_.at(stream).reset(); }
  /// Closes the reading end: its number may be reused while requests are still in flight.
  void close(std::size_t stream) noexcept { made_.at(stream).reset(); }

 private:
  [[nodiscard]] base::unique_fd& at(file one) noexcept { return made_[static_cast<std::size_t>(one)]; }

  std::array<base::unique_fd, made_files> made_;
  std::array<base::unique_fd, stream_count> writers_;
};

}  // namespace doorbell::fuzz
