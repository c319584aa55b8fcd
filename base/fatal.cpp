// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/fatal.hpp>

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <exception>

namespace doorbell::base {
namespace {

iovec as_iovec(const char* text) noexcept {
  return {.iov_base = const_cast<char*>(text), .iov_len = std::strlen(text)};
}

}  // namespace

// One system call, so that concurrent output does not split the line. By number: writev(3) is a cancellation point.
void fatal(const char* rule, const char* document) noexcept {
  const std::array parts{as_iovec("doorbell: "), as_iovec(rule), as_iovec(" ("), as_iovec(document), as_iovec(")\n")};
  ::syscall(SYS_writev, STDERR_FILENO, parts.data(), parts.size());
  std::terminate();
}

}  // namespace doorbell::base
