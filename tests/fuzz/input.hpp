// SPDX-License-Identifier: Apache-2.0
//
// The fuzzer's input, read as a sequence of decisions. All bytes after the last one are 0, so any byte sequence is a
// program, and a truncated sequence is a shorter one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>

namespace doorbell::fuzz {

class input {
 public:
  explicit input(std::span<const std::uint8_t> bytes) noexcept : left_{bytes} {}

  [[nodiscard]] bool at_end() const noexcept { return left_.empty(); }

  std::uint8_t byte() noexcept {
    if (left_.empty()) return 0;
    const auto first = left_.front();
    left_ = left_.subspan(1);
    return first;
  }

  /// A number of any value.
  template <class Number>
  Number number() noexcept {
    std::uint64_t value = 0;
    for (std::size_t at = 0; at < sizeof(Number); ++at) value |= std::uint64_t{byte()} << (8 * at);
    return static_cast<Number>(value);
  }

  /// A number below `limit`, which is at most 256.
  std::size_t below(std::size_t limit) noexcept { return byte() % limit; }

  template <class Choices>
  auto one_of(const Choices& choices) noexcept {
    return *(std::begin(choices) + static_cast<std::ptrdiff_t>(below(std::size(choices))));
  }

 private:
  std::span<const std::uint8_t> left_;
};

}  // namespace doorbell::fuzz
