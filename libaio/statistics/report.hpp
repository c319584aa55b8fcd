// SPDX-License-Identifier: Apache-2.0
//
// The report at the end of a process. A signal handler may end the process by _exit(2) at any point of the program. So
// a report uses no memory from malloc(3), no lock, and no function of the C library that is not async-signal-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "counters.hpp"

namespace doorbell::libaio {

/// Text of limited length; text that does not fit is left out.
class report_text {
 public:
  report_text& operator<<(std::string_view text) noexcept;
  report_text& operator<<(const char* text) noexcept { return *this << std::string_view{text}; }
  report_text& operator<<(char one) noexcept { return *this << std::string_view{&one, 1}; }
  report_text& operator<<(std::uint64_t number) noexcept;

  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.data(), size_}; }

 private:
  // Enough for the longest line, which contains each errno for each call.
  std::array<char, 65536> bytes_{};
  std::size_t size_ = 0;
};

/// For people: a few lines, with units.
void write_text(report_text& out, const counters& all) noexcept;

/// For people, about a program that has made no call.
void write_no_call(report_text& out) noexcept;

/// For programs: one object on one line. Times are in nanoseconds, sizes in bytes.
void write_json(report_text& out, const counters& all) noexcept;

}  // namespace doorbell::libaio
