// SPDX-License-Identifier: Apache-2.0
//
// The two files. Errors are thrown as std::system_error or std::runtime_error, with a text for the user.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>

namespace aio_copy {

/// A descriptor that closes itself.
class file {
 public:
  explicit file(int fd) noexcept : fd_{fd} {}
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file();
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

/// A regular file, open for reading.
class source_file {
 public:
  explicit source_file(std::filesystem::path path);

  [[nodiscard]] int fd() const noexcept { return file_.fd(); }
  [[nodiscard]] std::int64_t size() const noexcept { return status_.st_size; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] const struct stat& status() const noexcept { return status_; }

 private:
  std::filesystem::path path_;
  file file_;
  struct stat status_;
};

/// The copy while it is made: a file beside the destination, of a name of its own. It takes the destination's place,
/// and its mode, in one step at the end; or it is removed.
class partial_file {
 public:
  /// Refuses a destination that is a directory, a device, write-protected or `source` itself. If it is a symbolic link,
  /// its target is the destination.
  partial_file(const std::filesystem::path& destination, const source_file& source);
  partial_file(const partial_file&) = delete;
  partial_file& operator=(const partial_file&) = delete;
  ~partial_file();

  [[nodiscard]] int fd() const noexcept { return file_.fd(); }
  /// Where it is going to be, for messages.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return destination_; }

  /// Sets the size, which ends a hole at the end.
  void resize(std::int64_t size);
  /// Makes the next reads of the file come from the disk, not from the page cache. Affects synced data only.
  void forget_cached_pages() const noexcept;
  /// Takes the destination's place.
  void commit();

 private:
  std::filesystem::path destination_;
  mode_t mode_;
  std::filesystem::path name_;
  file file_;
  bool committed_ = false;
};

}  // namespace aio_copy
