// SPDX-License-Identifier: Apache-2.0
//
// For tests of programs that close descriptors of the library.
//
// These tests call close(2) and dup3(2) by syscall(2), which ThreadSanitizer does not intercept. It would otherwise
// report that the program closes descriptors that threads of the library use, which is the subject of the tests.
#pragma once

#include <fcntl.h>

#include <string_view>

#include <doorbell/base/unique_fd.hpp>

#include "support/files.hpp"

namespace doorbell::test {

/// Descriptors from this number on are not closed one by one.
inline constexpr int highest_closed = 1024;

/// A file that is read by O_DIRECT where that is possible, so that the engine carries out the read.
[[nodiscard]] inline base::unique_fd file_for_engine(std::string_view text) {
  auto file = temporary_file(text);
  ::fcntl(file.get(), F_SETFL, O_DIRECT);
  return file;
}

}  // namespace doorbell::test
