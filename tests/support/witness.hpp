// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

namespace doorbell::test {

/// Sets a flag when it is destroyed.
struct witness {
  explicit witness(bool& told) : gone{&told} {}
  witness(witness&& other) noexcept : gone{std::exchange(other.gone, nullptr)} {}
  witness(const witness&) = delete;
  witness& operator=(const witness&) = delete;
  witness& operator=(witness&&) = delete;
  ~witness() {
    if (gone != nullptr) *gone = true;
  }
  bool* gone;
};

}  // namespace doorbell::test
