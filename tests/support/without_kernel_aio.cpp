// SPDX-License-Identifier: Apache-2.0
//
// without_kernel_aio PROGRAM [ARGUMENTS...]: executes a program in which all AIO system calls fail. If AIO works in the
// program, a library implements it.
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "support/refused_calls.hpp"

namespace {

constexpr int of_this_program = 125;
constexpr int not_found = 127;

int become(char** command) {
  doorbell::test::refuse_kernel_aio();
  ::execvp(*command, command);
  std::perror(*command);
  return not_found;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc > 1) return become(argv + 1);
    std::fprintf(stderr, "usage: %s PROGRAM [ARGUMENTS...]\n", argv[0]);
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "%s: %s\n", argv[0], failed.what());
  }
  return of_this_program;
}
