// SPDX-License-Identifier: Apache-2.0
//
// A program that a signal handler ends by _exit(2), most likely while it is inside malloc(3). Its argument is the time
// until then in microseconds.
#include <libaio.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void end(int signal) {
  (void)signal;
  _exit(3);
}

int main(int argc, char** argv) {
  io_context_t ctx = 0;
  if (argc != 2 || io_setup(8, &ctx) != 0) return 1;
  signal(SIGALRM, end);
  ualarm((useconds_t)atoi(argv[1]), 0);
  for (;;) {
    void* volatile made[64];
    for (size_t n = 0; n < 64; ++n) made[n] = malloc(1000 + n * 3000);
    for (size_t n = 0; n < 64; ++n) free(made[n]);
  }
}
