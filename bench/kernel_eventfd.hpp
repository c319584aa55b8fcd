// SPDX-License-Identifier: Apache-2.0
//
// kernel_eventfd: the kernel's eventfd, the most frequent peer. It makes the system calls directly: in a process with
// several threads, glibc's read() and write() do additional work, because they are cancellation points.
#pragma once

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>

namespace doorbell::bench {

class kernel_eventfd {
 public:
  explicit kernel_eventfd(int flags = 0) : fd_{static_cast<int>(::syscall(SYS_eventfd2, 0, flags))} {
    if (fd_ < 0) throw std::runtime_error{"eventfd2"};
  }
  ~kernel_eventfd() { ::syscall(SYS_close, fd_); }
  kernel_eventfd(const kernel_eventfd&) = delete;
  kernel_eventfd& operator=(const kernel_eventfd&) = delete;

  void signal() const noexcept {
    const std::uint64_t one = 1;
    ::syscall(SYS_write, fd_, &one, sizeof one);
  }
  [[nodiscard]] std::uint64_t read() const noexcept {
    std::uint64_t count = 0;
    ::syscall(SYS_read, fd_, &count, sizeof count);
    return count;
  }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace doorbell::bench
