// SPDX-License-Identifier: Apache-2.0
//
// A C program with Debian's libaio.h that makes every call of libaio, and expects the kernel's results.
// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's
#define _GNU_SOURCE
#include <fcntl.h>
#include <libaio.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

// libaio.h declares it only in a comment.
int io_queue_wait(io_context_t ctx, struct timespec* timeout);

static struct timespec no_wait = {0, 0};
static struct timespec soon = {0, 1000000};

static io_context_t context(void) {
  io_context_t ctx = NULL;
  EXPECT_AIO(io_setup(8, &ctx), 0);
  return ctx;
}

static int empty_file(void) {
  char path[] = "/tmp/doorbell-abi-XXXXXX";
  const int fd = mkstemp(path);
  EXPECT(fd >= 0, 1);
  unlink(path);
  return fd;
}

// False in qemu-user, where a request with a flag fails with -EOPNOTSUPP.
static int has_pwritev2(void) { return syscall(SYS_pwritev2, -1, NULL, 0, 0, 0, 0) == -1 && errno != ENOSYS; }

// Submits one request, and waits for it. Checks all members of its event except res, which is returned.
static long result_of(io_context_t ctx, struct iocb* request) {
  struct iocb* list[] = {request};
  struct io_event event;
  memset(&event, 0xff, sizeof event);
  request->data = &event;
  EXPECT_AIO(io_submit(ctx, 1, list), 1);
  EXPECT_AIO(io_getevents(ctx, 1, 1, &event, NULL), 1);
  EXPECT(event.obj == request, 1);
  EXPECT(event.data == &event, 1);
  EXPECT(event.res2, 0);
  return (long)event.res;
}

static void setup_and_destroy(void) {
  io_context_t ctx = NULL;
  EXPECT_AIO(io_setup(0, &ctx), -EINVAL);
  EXPECT_AIO(io_setup(8, NULL), -EFAULT);
  EXPECT_AIO(io_setup(8, &ctx), 0);
  EXPECT_AIO(io_setup(8, &ctx), -EINVAL);  // the handle is in use
  EXPECT_AIO(io_destroy(ctx), 0);
  EXPECT_AIO(io_destroy(ctx), -EINVAL);
  EXPECT_AIO(io_destroy(NULL), -EINVAL);
}

static void reads_and_writes(void) {
  io_context_t ctx = context();
  const int fd = empty_file();
  struct iocb request;
  char text[16] = "";

  io_prep_pwrite(&request, fd, "0123456789", 10, 0);
  EXPECT(result_of(ctx, &request), 10);
  io_prep_pread(&request, fd, text, sizeof text, 2);
  EXPECT(result_of(ctx, &request), 8);
  EXPECT(memcmp(text, "23456789", 8), 0);

  struct iovec parts[] = {{"ab", 2}, {"cde", 3}};
  io_prep_pwritev(&request, fd, parts, 2, 5);
  EXPECT(result_of(ctx, &request), 5);
  char first[6] = "";
  char rest[6] = "";
  struct iovec halves[] = {{first, 5}, {rest, 5}};
  io_prep_preadv(&request, fd, halves, 2, 0);
  EXPECT(result_of(ctx, &request), 10);
  EXPECT(strcmp(first, "01234"), 0);
  EXPECT(strcmp(rest, "abcde"), 0);

  if (has_pwritev2()) {
    io_prep_pwritev2(&request, fd, parts, 2, 0, RWF_APPEND);
    EXPECT(result_of(ctx, &request), 5);
  } else {
    EXPECT(lseek(fd, 10, SEEK_SET), 10);
    EXPECT(writev(fd, parts, 2), 5);
  }
  EXPECT(lseek(fd, 0, SEEK_END), 15);
  io_prep_preadv2(&request, fd, halves, 2, 10, 0);
  EXPECT(result_of(ctx, &request), 5);
  EXPECT(strcmp(first, "abcde"), 0);

  io_prep_fsync(&request, fd);
  EXPECT(result_of(ctx, &request), 0);
  io_prep_fdsync(&request, fd);
  EXPECT(result_of(ctx, &request), 0);
  io_prep_pread(&request, fd, text, sizeof text, 100);
  EXPECT(result_of(ctx, &request), 0);  // after the end of the file

  close(fd);
  EXPECT_AIO(io_destroy(ctx), 0);
}

static void refusals(void) {
  io_context_t ctx = context();
  struct iocb request;
  struct iocb* list[] = {&request};
  char text[8];

  io_prep_pread(&request, -1, text, sizeof text, 0);
  EXPECT_AIO(io_submit(ctx, 1, list), -EBADF);
  EXPECT_AIO(io_submit(ctx, -1, list), -EINVAL);
  EXPECT_AIO(io_submit(ctx, 0, list), 0);
  EXPECT_AIO(io_submit(NULL, 1, list), -EINVAL);
  EXPECT_AIO(io_submit(ctx, 1, NULL), -EFAULT);

  const int fd = empty_file();
  io_prep_pread(&request, fd, text, sizeof text, 0);
  request.aio_lio_opcode = 99;
  EXPECT_AIO(io_submit(ctx, 1, list), -EINVAL);
  io_prep_preadv2(&request, fd, NULL, 0, 0, 1 << 30);
  EXPECT_AIO(io_submit(ctx, 1, list), -EOPNOTSUPP);
  io_prep_pread(&request, fd, text, sizeof text, 0);
  io_set_eventfd(&request, fd);
  EXPECT_AIO(io_submit(ctx, 1, list), -EINVAL);  // not an eventfd
  close(fd);

  struct io_event event;
  EXPECT_AIO(io_cancel(ctx, &request, &event), -EINVAL);  // not in flight
  EXPECT_AIO(io_getevents(ctx, 2, 1, &event, NULL), -EINVAL);
  EXPECT_AIO(io_getevents(ctx, -1, 1, &event, NULL), -EINVAL);
  EXPECT_AIO(io_getevents(NULL, 0, 1, &event, NULL), -EINVAL);
  EXPECT_AIO(io_destroy(ctx), 0);
}

static void polls_and_cancels(void) {
  io_context_t ctx = context();
  int ends[2];
  EXPECT(pipe(ends), 0);
  struct iocb poll;
  struct iocb* list[] = {&poll};
  struct io_event event;

  io_prep_poll(&poll, ends[0], POLLIN);
  EXPECT_AIO(io_submit(ctx, 1, list), 1);
  EXPECT_AIO(io_getevents(ctx, 0, 1, &event, &no_wait), 0);
  EXPECT_AIO(io_getevents(ctx, 0, 1, &event, NULL), 0);
  EXPECT_AIO(io_getevents(ctx, 1, 1, &event, &soon), 0);
  EXPECT(write(ends[1], "x", 1), 1);
  EXPECT_AIO(io_getevents(ctx, 1, 1, &event, NULL), 1);
  EXPECT(event.res & POLLIN, POLLIN);
  EXPECT(read(ends[0], &(char){0}, 1), 1);

  EXPECT_AIO(io_submit(ctx, 1, list), 1);
  EXPECT_AIO(io_cancel(ctx, &poll, &event), -EINPROGRESS);
  EXPECT_AIO(io_getevents(ctx, 1, 1, &event, NULL), 1);
  EXPECT(event.obj == &poll, 1);
  EXPECT(event.res, 0);

  close(ends[0]);
  close(ends[1]);
  EXPECT_AIO(io_destroy(ctx), 0);
}

static void signals_an_eventfd(void) {
  io_context_t ctx = context();
  const int fd = empty_file();
  const int efd = eventfd(0, 0);
  struct iocb requests[3];
  struct iocb* list[3];
  for (int n = 0; n < 3; ++n) {
    io_prep_pwrite(&requests[n], fd, &"abc"[n], 1, n);
    io_set_eventfd(&requests[n], efd);
    list[n] = &requests[n];
  }
  EXPECT_AIO(io_submit(ctx, 3, list), 3);
  for (uint64_t sum = 0, count = 0; sum < 3; sum += count) EXPECT(read(efd, &count, sizeof count), sizeof count);
  struct io_event events[4];
  EXPECT_AIO(io_getevents(ctx, 3, 4, events, &no_wait), 3);
  for (int n = 0; n < 3; ++n) EXPECT(events[n].res, 1);
  close(efd);
  close(fd);
  EXPECT_AIO(io_destroy(ctx), 0);
}

static void nothing(int number) { (void)number; }

static void waits_with_a_signal_mask(void) {
  io_context_t ctx = context();
  struct io_event event;
  sigset_t usr1;
  sigset_t none;
  sigemptyset(&none);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  signal(SIGUSR1, nothing);
  sigprocmask(SIG_BLOCK, &usr1, NULL);
  raise(SIGUSR1);
  EXPECT_AIO(io_pgetevents(ctx, 1, 1, &event, &soon, NULL), 0);
  EXPECT_AIO(io_pgetevents(ctx, 1, 1, &event, &soon, &usr1), 0);
  EXPECT_AIO(io_pgetevents(ctx, 1, 1, &event, NULL, &none), -EINTR);
  EXPECT_AIO(io_destroy(ctx), 0);
}

static int calls = 0;
static long results = 0;

static void completed(io_context_t ctx, struct iocb* request, long res, long res2) {
  EXPECT(ctx != NULL && request->data == (void*)completed, 1);
  EXPECT(res2, 0);
  ++calls;
  results += res;
}

static void queues(void) {
  io_context_t queue = (io_context_t)&calls;  // io_queue_init ignores the previous value
  EXPECT_AIO(io_queue_init(0, &queue), -EINVAL);
  EXPECT_AIO(io_queue_init(-1, &queue), -EINVAL);
  EXPECT(queue == (io_context_t)&calls, 1);  // a setup that fails does not change the handle
  EXPECT_AIO(io_queue_init(8, &queue), 0);
  EXPECT_AIO(io_queue_wait(queue, NULL), 0);
  EXPECT_AIO(io_queue_wait(queue, &soon), 0);
  EXPECT_AIO(io_queue_run(queue), 0);

  const int fd = empty_file();
  const int efd = eventfd(0, EFD_SEMAPHORE);
  struct iocb requests[3];
  struct iocb* list[3];
  for (int n = 0; n < 3; ++n) {
    io_prep_pwrite(&requests[n], fd, "abcdef", (size_t)n + 1, 6L * n);
    io_set_callback(&requests[n], completed);
    io_set_eventfd(&requests[n], efd);
    list[n] = &requests[n];
  }
  EXPECT_AIO(io_submit(queue, 3, list), 3);
  for (int n = 0; n < 3; ++n) EXPECT(read(efd, &(uint64_t){0}, 8), 8);
  EXPECT_AIO(io_queue_wait(queue, NULL), 0);  // leaves the events in the ring
  EXPECT_AIO(io_queue_run(queue), 0);
  EXPECT(calls, 3);
  EXPECT(results, 1 + 2 + 3);

  struct iocb request;
  EXPECT_AIO(io_fsync(queue, &request, completed, fd), 1);
  while (calls < 4) EXPECT(io_queue_run(queue), 0);
  EXPECT_AIO(io_poll(queue, &request, completed, fd, POLLIN), 1);
  while (calls < 5) EXPECT(io_queue_run(queue), 0);
  EXPECT(results, 1 + 2 + 3 + POLLIN);

  close(efd);
  close(fd);
  EXPECT_AIO(io_queue_release(queue), 0);
  EXPECT_AIO(io_queue_release(queue), -EINVAL);
  EXPECT_AIO(io_queue_run(NULL), -EINVAL);
  EXPECT_AIO(io_queue_wait(NULL, NULL), -EINVAL);
}

int main(void) {
  alarm(50);
  setup_and_destroy();
  reads_and_writes();
  refusals();
  polls_and_cancels();
  signals_an_eventfd();
  waits_with_a_signal_mask();
  queues();
}
