// SPDX-License-Identifier: Apache-2.0
//
// unique_fd: sole owner of a file descriptor. Not thread-safe, as any value type.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <unistd.h>

#include <utility>

#include <doorbell/base/uncancelled.hpp>

namespace doorbell::base {

class unique_fd {
 public:
  unique_fd() noexcept = default;
  explicit unique_fd(int fd) noexcept : fd_{fd} {}
  unique_fd(unique_fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~unique_fd() { reset(); }

  /// The descriptor, or -1 if there is none.
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

  /// Returns the descriptor without closing it; empty afterwards.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes the held descriptor and takes `fd`. close(2) is not repeated on EINTR: on Linux it has freed the number.
  void reset(int fd = -1) noexcept {
    const int old = std::exchange(fd_, fd);
    if (old < 0) return;
    const uncancelled here;  // close(2) is a cancellation point, and destructors are noexcept
    ::close(old);
  }

 private:
  int fd_ = -1;
};

}  // namespace doorbell::base
