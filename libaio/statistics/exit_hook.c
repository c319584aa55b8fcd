// SPDX-License-Identifier: Apache-2.0
//
// libdoorbell-exit.so: its _exit(2) replaces the C library's, so that processes that end with _exit(2), such as fio's
// jobs, report before they end. doorbell-run preloads it if statistics are requested, and libaio.so.1 registers the
// function to call. Without libaio.so.1 it changes nothing.
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
