// SPDX-License-Identifier: Apache-2.0
//
// The source and the copy. Errors are thrown as std::system_error or std::runtime_error, with a message for the user.
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

/// The copy before it is complete: a file in the destination's folder, with a temporary name. commit() renames it to
/// the destination; otherwise the destructor removes it.
class partial_file {
 public:
  /// Refuses a destination that is a directory, a device, write-protected or `source` itself. If it is a symbolic link,
  /// its target is the destination.
  partial_file(const std::filesystem::path& destination, const source_file& source);
  partial_file(const partial_file&) = delete;
  partial_file& operator=(const partial_file&) = delete;
  ~partial_file();

  [[nodiscard]] int fd() const noexcept { return file_.fd(); }
  /// The destination, for messages.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return destination_; }

  /// Sets the size, which creates the hole at the end of the file if there is one.
  void resize(std::int64_t size);
  /// Drops synced data from the page cache, so that later reads of it come from the disk.
  void forget_cached_pages() const noexcept;
  /// Sets the mode, and renames the file to the destination, which it replaces atomically.
  void commit();

 private:
  std::filesystem::path destination_;
  mode_t mode_;
  std::filesystem::path name_;
  file file_;
  bool committed_ = false;
};

}  // namespace aio_copy
