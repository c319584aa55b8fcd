// SPDX-License-Identifier: Apache-2.0
//
// without_kernel_aio PROGRAM [ARGUMENTS...]: becomes a program to which the kernel refuses all AIO. What it does with AIO
// all the same, a library has done.
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>

#include "support/refused_calls.hpp"

namespace {

constexpr int of_this_program = 125;
constexpr int not_found = 127;

int become(char** command) {
  for (const long call :
       {SYS_io_setup, SYS_io_destroy, SYS_io_submit, SYS_io_cancel, SYS_io_getevents, SYS_io_pgetevents})
    doorbell::test::refuse(call, ENOSYS);
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
