// SPDX-License-Identifier: Apache-2.0
//
// loads_libaio [NAME]: reads a file by the libaio that dlopen(3) finds by NAME; without NAME, by the libaio that the
// program contains.
// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libaio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void require(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s\n", what);
  exit(EXIT_FAILURE);
}

static struct {
  int (*setup)(int, io_context_t*);
  int (*submit)(io_context_t, long, struct iocb**);
  int (*getevents)(io_context_t, long, long, struct io_event*, struct timespec*);
  int (*destroy)(io_context_t);
} calls;

static void* found(void* library, const char* name) {
  void* const function = dlsym(library, name);
  require(function != NULL, name);
  return function;
}

static void load(const char* name) {
  void* const library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  require(library != NULL, dlerror());
  *(void**)&calls.setup = found(library, "io_setup");
  *(void**)&calls.submit = found(library, "io_submit");
  *(void**)&calls.getevents = found(library, "io_getevents");
  *(void**)&calls.destroy = found(library, "io_destroy");
}

#ifdef HAS_LIBAIO
static void use_own(void) {
  calls.setup = io_setup;
  calls.submit = io_submit;
  calls.getevents = io_getevents;
  calls.destroy = io_destroy;
}
#else
static void use_own(void) { require(0, "a name is needed"); }
#endif

int main(int argc, char** argv) {
  alarm(50);
  if (argc > 1)
    load(argv[1]);
  else
    use_own();
  char path[] = "/tmp/doorbell-loads-XXXXXX";
  const int file = mkstemp(path);
  require(file >= 0, path);
  unlink(path);
  require(write(file, "text", 4) == 4, "write");
  io_context_t context = NULL;
  require(calls.setup(8, &context) == 0, "io_setup");
  char text[4] = "";
  struct iocb request;
  struct iocb* list = &request;
  struct io_event event;
  struct timespec no_time = {0, 0};
  for (int n = 0; n < 4; ++n) {
    io_prep_pread(&request, file, text, sizeof text, 0);
    require(calls.submit(context, 1, &list) == 1, "io_submit");
    require(calls.getevents(context, 1, 1, &event, NULL) == 1, "io_getevents");
    require(event.res == 4 && memcmp(text, "text", 4) == 0, "the result of the read");
    require(calls.getevents(context, 1, 1, &event, &no_time) == 0, "io_getevents of none");
  }
  require(calls.destroy(context) == 0, "io_destroy");
}
