// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// Defined by a fuzz target and called by libFuzzer: runs one input to its end. It returns 0, or does not return.
// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer requires
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
