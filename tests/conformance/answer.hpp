// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstdint>
#include <ostream>

namespace doorbell::test {

/// The result of a call: a value (a count, or a number of bytes), or an errno.
struct answer {
  std::uint64_t value = 0;
  int error = 0;

  friend bool operator==(const answer&, const answer&) = default;
  friend std::ostream& operator<<(std::ostream& out, const answer& of) {
    return of.error != 0 ? out << "errno " << of.error : out << of.value;
  }
};

[[nodiscard]] constexpr answer succeeds(std::uint64_t value) { return {value, 0}; }
[[nodiscard]] constexpr answer fails(int error) { return {0, error}; }

}  // namespace doorbell::test
