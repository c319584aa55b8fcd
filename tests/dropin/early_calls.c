// SPDX-License-Identifier: Apache-2.0
//
// A library whose constructor runs before that of libaio.so.1, if it is preloaded after libaio.so.1. The environment
// variable EARLY selects the action of the constructor: it ends the process by _exit(2), or expects that execve(2)
// fails, because libaio.so.1 does not know the C library's function yet.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void call_early(void) {
  const char* const name = getenv("EARLY");
  if (name == NULL) return;
  if (strcmp(name, "_exit") == 0) _exit(EXIT_SUCCESS);
  errno = 0;
  const int answer = execl("/bin/true", "true", (char*)NULL);
  _exit(answer == -1 && errno == ENOSYS ? EXIT_SUCCESS : EXIT_FAILURE);
}
