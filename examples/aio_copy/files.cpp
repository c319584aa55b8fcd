// SPDX-License-Identifier: Apache-2.0
#include "files.hpp"

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace aio_copy {
namespace {

namespace fs = std::filesystem;

constexpr mode_t permissions = 0777;

std::string quoted(const fs::path& path) { return absl::StrCat("'", path.string(), "'"); }

[[noreturn]] void fail(int error, const char* what, const fs::path& path) {
  throw std::system_error{error, std::generic_category(), absl::StrCat(what, " ", quoted(path))};
}

void check_regular(const struct stat& status, const fs::path& path) {
  if (S_ISDIR(status.st_mode)) throw std::runtime_error{quoted(path) + " is a directory"};
  if (!S_ISREG(status.st_mode)) throw std::runtime_error{quoted(path) + " is not a regular file"};
}

// O_NONBLOCK: otherwise the open of a pipe would wait for a writer before check_regular() can refuse the pipe.
int open_source(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) fail(errno, "cannot open", path);
  return fd;
}

struct stat status_of(int fd, const fs::path& path) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) fail(errno, "cannot examine", path);
  check_regular(status, path);
  return status;
}

fs::path target_of(const fs::path& path) {
  std::error_code ec;
  if (!fs::is_symlink(path, ec)) return path;
  auto target = fs::canonical(path, ec);
  if (ec) fail(ec.value(), "cannot follow", path);
  return target;
}

std::optional<struct stat> existing(const fs::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) return status;
  if (errno != ENOENT) fail(errno, "cannot write", path);
  return std::nullopt;
}

mode_t mode_for(const fs::path& destination, const source_file& source) {
  const auto there = existing(destination);
  if (!there) return source.status().st_mode & permissions;
  if (there->st_dev == source.status().st_dev && there->st_ino == source.status().st_ino)
    throw std::runtime_error{quoted(source.path()) + " and " + quoted(destination) + " are the same file"};
  check_regular(*there, destination);
  if (::access(destination.c_str(), W_OK) < 0) fail(errno, "cannot write", destination);
  return there->st_mode & permissions;
}

// Contains the destination's name, so that a file left by a crash can be recognized. The name is shortened so that the
// suffix fits.
fs::path name_beside(const fs::path& destination) {
  constexpr std::size_t longest = 200;
  return destination.parent_path() / (absl::StrCat(".", destination.filename().string().substr(0, longest), ".XXXXXX"));
}

int create(fs::path& name, const fs::path& destination) {
  auto text = name.string();
  const int fd = ::mkostemp(text.data(), O_CLOEXEC);
  if (fd < 0) fail(errno, "cannot write", destination);
  name = text;
  return fd;
}

}  // namespace

file::~file() { ::close(fd_); }

source_file::source_file(fs::path path)
    : path_{std::move(path)}, file_{open_source(path_)}, status_{status_of(fd(), path_)} {}

partial_file::partial_file(const fs::path& destination, const source_file& source)
    : destination_{target_of(destination)},
      mode_{mode_for(destination_, source)},
      name_{name_beside(destination_)},
      file_{create(name_, destination_)} {}

partial_file::~partial_file() {
  if (!committed_) ::unlink(name_.c_str());
}

void partial_file::resize(std::int64_t size) {
  if (::ftruncate(fd(), size) < 0) fail(errno, "cannot write", destination_);
}

void partial_file::forget_cached_pages() const noexcept { ::posix_fadvise(fd(), 0, 0, POSIX_FADV_DONTNEED); }

void partial_file::commit() {
  if (::fchmod(fd(), mode_) < 0 || ::rename(name_.c_str(), destination_.c_str()) < 0)
    fail(errno, "cannot write", destination_);
  committed_ = true;
}

}  // namespace aio_copy
