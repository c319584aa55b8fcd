// SPDX-License-Identifier: Apache-2.0
//
// Real files and pipes to do I/O on.
#pragma once

#include <doorbell/base/unique_fd.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

namespace doorbell::test {

/// A file without a name, gone when closed.
inline doorbell::base::unique_fd temporary_file_in(const char* folder, std::string_view text = {}) {
  std::string path = std::string{folder} + "/doorbell-test-XXXXXX";
  doorbell::base::unique_fd file{::mkostemp(path.data(), O_CLOEXEC)};
  if (!file) throw std::system_error{errno, std::system_category(), path};
  ::unlink(path.c_str());
  if (::pwrite(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    throw std::system_error{errno, std::system_category(), "pwrite"};
  return file;
}

/// Not /tmp: on many systems its files are in memory (tmpfs). There, reads with RWF_NOWAIT may be refused, and the file
/// system sets no maximum size of a file.
inline const char* temporary_folder() {
  const char* const folder = std::getenv("TMPDIR");
  return folder != nullptr ? folder : "/var/tmp";
}

inline doorbell::base::unique_fd temporary_file(std::string_view text = {}) {
  return temporary_file_in(temporary_folder(), text);
}

/// A folder whose files are in memory.
inline constexpr const char* memory_folder = "/dev/shm";
inline bool has_memory_folder() { return ::access(memory_folder, W_OK) == 0; }

struct pipe_ends {
  doorbell::base::unique_fd read;
  doorbell::base::unique_fd write;

  pipe_ends() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error{errno, std::system_category(), "pipe2"};
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
};

}  // namespace doorbell::test
