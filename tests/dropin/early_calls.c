// SPDX-License-Identifier: Apache-2.0
//
// A library whose constructor runs before that of libaio.so.1, where it is preloaded behind that. The environment
// variable EARLY says what the constructor does: it ends the process by _exit(2), or expects that execve(2) is refused,
// because libaio.so.1 does not know the C library's function yet.
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
