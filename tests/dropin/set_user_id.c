// SPDX-License-Identifier: Apache-2.0
//
// Creates and destroys a context, and prints what io_setup returns.
#include <libaio.h>
#include <stdio.h>

int main(void) {
  io_context_t ctx = 0;
  printf("io_setup: %d\n", io_setup(1, &ctx));
  if (ctx != 0) io_destroy(ctx);
  return 0;
}
