// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>

namespace doorbell::test {

/// The size and alignment of buffers for O_DIRECT.
inline constexpr std::size_t block = 4096;

struct free_deleter {
  void operator()(void* memory) const { std::free(memory); }
};
using blocks = std::unique_ptr<char, free_deleter>;

/// `count` blocks of the letter `with`, aligned for O_DIRECT.
[[nodiscard]] inline blocks blocks_of(char with, std::size_t count = 1) {
  blocks made{static_cast<char*>(std::aligned_alloc(block, count * block))};
  std::fill_n(made.get(), count * block, with);
  return made;
}

}  // namespace doorbell::test
