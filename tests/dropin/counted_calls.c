// SPDX-License-Identifier: Apache-2.0
//
// counted_calls READ WRITTEN: makes a known number of calls of each kind, for the statistics of doorbell-run. Reads
// READ bytes and writes WRITTEN bytes. Prints the number of system calls that the kernel's AIO would need. A child of
// fork(2) makes one call.
//
// At most two requests are in flight: a poll, which lasts 20 ms and is cancelled, and one other request. The program
// also cancels a read of an empty pipe, which the kernel's AIO cannot do.
// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's
#define _GNU_SOURCE
#include <errno.h>
#include <libaio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int calls_made = 0;

static void expect(const char* what, long answer, long wanted) {
  if (answer == wanted) return;
  fprintf(stderr, "%s: %ld, not %ld\n", what, answer, wanted);
  exit(EXIT_FAILURE);
}

static void expect_call(const char* what, long answer, long wanted) {
  ++calls_made;
  expect(what, answer, wanted);
}

static void carry_out(io_context_t context, struct iocb* request, long wanted) {
  struct io_event event;
  expect_call("io_submit", io_submit(context, 1, &request), 1);
  expect_call("io_getevents", io_getevents(context, 1, 1, &event, NULL), 1);
  expect("the result", (long)event.res, wanted);
}

static void make_refused_calls(io_context_t context, int file) {
  struct io_event events[2];
  struct iocb request;
  struct iocb* list = &request;
  io_context_t none = NULL;
  expect_call("io_setup of nothing", io_setup(0, &none), -EINVAL);
  io_prep_pread(&request, -1, events, 1, 0);
  expect_call("io_submit of no file", io_submit(context, 1, &list), -EBADF);
  io_prep_pread(&request, file, events, 1, 0);
  expect_call("io_cancel of a request that is not in flight", io_cancel(context, &request, events), -EINVAL);
  expect_call("io_getevents of too few", io_getevents(context, 2, 1, events, NULL), -EINVAL);
}

static void get_events_from_an_empty_ring(io_context_t context) {
  struct io_event event;
  struct timespec none = {0, 0};
  struct timespec short_time = {0, 1000};
  // libaio reads in the ring that there is no event, and calls the kernel only if it must wait.
  expect("io_getevents of nothing", io_getevents(context, 0, 1, &event, &none), 0);
  expect_call("io_getevents for a short time", io_getevents(context, 1, 1, &event, &short_time), 0);
}

int main(int count, char** arguments) {
  expect("the number of arguments", count, 3);
  const size_t to_read = strtoul(arguments[1], NULL, 10);
  const size_t to_write = strtoul(arguments[2], NULL, 10);
  char* const bytes = calloc(1, to_read > to_write ? to_read : to_write);
  char path[] = "counted-XXXXXX";
  const int file = mkstemp(path);
  int ends[2];
  expect("a pipe", pipe(ends), 0);
  expect("unlink", unlink(path), 0);

  io_context_t first = NULL;
  io_context_t second = NULL;
  io_context_t third = NULL;
  expect_call("io_setup", io_setup(4, &first), 0);
  // Refused calls do not change the number of contexts.
  expect_call("io_destroy of no context", io_destroy((io_context_t)8), -EINVAL);
  expect_call("io_destroy of no context", io_destroy((io_context_t)16), -EINVAL);
  expect_call("io_setup", io_setup(1, &second), 0);
  expect_call("io_destroy", io_destroy(second), 0);
  expect_call("io_setup", io_setup(1, &third), 0);

  struct iocb waiting_request;
  struct iocb* waiting = &waiting_request;
  io_prep_poll(&waiting_request, ends[0], POLLIN);
  expect_call("io_submit of a poll", io_submit(first, 1, &waiting), 1);
  get_events_from_an_empty_ring(first);

  struct iocb request;
  io_prep_pwrite(&request, file, bytes, to_write, 0);
  carry_out(first, &request, (long)to_write);
  io_prep_pread(&request, file, bytes, to_read, 0);
  carry_out(first, &request, (long)to_read);
  io_prep_pread(&request, file, (void*)8, 1, 0);
  carry_out(first, &request, -EFAULT);
  io_prep_fsync(&request, file);
  carry_out(first, &request, 0);
  make_refused_calls(first, file);

  // The poll takes at least this time. The test expects it as the longest latency of the statistics.
  const struct timespec least_latency = {0, 20000000};
  nanosleep(&least_latency, NULL);
  struct io_event event;
  expect_call("io_cancel", io_cancel(first, &waiting_request, &event), -EINPROGRESS);
  expect_call("io_getevents of the poll", io_getevents(first, 1, 1, &event, NULL), 1);
  expect("the result of the poll", (long)event.res, 0);

  io_prep_pread(&waiting_request, ends[0], bytes, 1, 0);
  expect_call("io_submit of a read of an empty pipe", io_submit(first, 1, &waiting), 1);
  expect_call("io_cancel of it", io_cancel(first, &waiting_request, &event), -EINPROGRESS);
  expect_call("io_getevents of it", io_getevents(first, 1, 1, &event, NULL), 1);
  expect("its result", (long)event.res, -ECANCELED);
  expect("a write into the pipe", write(ends[1], "x", 1), 1);
  io_prep_poll(&request, ends[0], POLLIN);
  carry_out(first, &request, POLLIN);

  const pid_t child = fork();
  if (child == 0) {
    io_context_t own = NULL;
    expect("io_setup in the child", io_setup(1, &own), 0);
    _exit(0);
  }
  int status = -1;
  expect("waitpid", waitpid(child, &status, 0), child);
  expect("the child's status", status, 0);
  printf("%d\n", calls_made);
  free(bytes);
  return 0;
}
