// SPDX-License-Identifier: Apache-2.0
//
// libdoorbell-exit.so: processes that end with _exit(2), as fio's jobs do, end here first. doorbell-run loads it where
// statistics are asked for, and libaio.so.1 says what is to be done. By itself it changes nothing.
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void (*before_exit)(void);

__attribute__((visibility("default"))) void doorbell_before_exit(void (*what)(void)) { before_exit = what; }

__attribute__((visibility("default"), noreturn)) void _exit(int status) {
  if (before_exit != NULL) before_exit();
  for (;;) syscall(SYS_exit_group, status);
}

__attribute__((visibility("default"), noreturn)) void _Exit(int status) { _exit(status); }
