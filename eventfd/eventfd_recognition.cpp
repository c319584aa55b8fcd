// SPDX-License-Identifier: Apache-2.0
#include "eventfd_recognition.hpp"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "fdinfo.hpp"

namespace doorbell {
namespace {

/// The error of a write(2) of `bytes` bytes from address 0; 0 if it succeeds. By syscall(2), because sanitizers and the
/// compiler report a write(2) from address 0 as a mistake.
int error_of_write_from_nowhere(int fd, std::size_t bytes) noexcept {
  // equivalent fault (comparison): no file that has the anonymous inode writes 0 of 7 or 8 bytes
  return ::syscall(SYS_write, fd, nullptr, bytes) < 0 ? errno : 0;
}

bool has_anonymous_inode(int fd) noexcept {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == 0;
}

bool has_fionread(int fd) noexcept {
  int bytes = 0;  // equivalent fault (constant): nothing reads it
  return ::ioctl(fd, FIONREAD, &bytes) == 0 || errno != ENOTTY;
}

}  // namespace

bool answers_as_eventfd(int fd) noexcept {
  return has_anonymous_inode(fd) && error_of_write_from_nowhere(fd, 7) == EINVAL &&
         error_of_write_from_nowhere(fd, 8) == EFAULT && !has_fionread(fd);
}

bool is_eventfd_by_fdinfo(int fd) noexcept {
  const auto info = open_fdinfo(fd);
  return info && read_eventfd_count(info.get());  // equivalent fault (dropped): nothing can be read from -1
}

}  // namespace doorbell
