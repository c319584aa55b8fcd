// SPDX-License-Identifier: Apache-2.0
//
// The ways to end a process that first complete its accepted file I/O.
#pragma once

#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

namespace doorbell::test {

inline void finish_and_exit(int status) {
  aio::finish_file_io();
  ::_exit(status);
}

inline constexpr std::array<void (*)(int), 3> ways_to_end{&::exit, &::quick_exit, &finish_and_exit};

inline std::string name_of_end(const testing::TestParamInfo<void (*)(int)>& way) {
  return std::array{"exit", "quick_exit", "finish_and_exit"}.at(way.index);
}

}  // namespace doorbell::test
