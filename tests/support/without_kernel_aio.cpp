// SPDX-License-Identifier: Apache-2.0
//
// without_kernel_aio PROGRAM [ARGUMENTS...]: becomes a program to which the kernel refuses all AIO. What it does with AIO all
// the same, a library has done.
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "support/refused_calls.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s PROGRAM [ARGUMENTS...]\n", argv[0]);
    return 125;
  }
  for (const long call :
       {SYS_io_setup, SYS_io_destroy, SYS_io_submit, SYS_io_cancel, SYS_io_getevents, SYS_io_pgetevents})
    doorbell::test::refuse(call, ENOSYS);
  ::execvp(argv[1], argv + 1);
  std::perror(argv[1]);
  return 127;
}
