// SPDX-License-Identifier: Apache-2.0
//
// A program like those linked before libaio 0.4, when io_getevents waited for at least one event and so had four
// arguments, and io_cancel had two. Today's linker would choose the current versions, so this program names the old
// ones.
// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's
#define _GNU_SOURCE
#include <libaio.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

int old_getevents(io_context_t ctx, long nr, struct io_event* events, const struct timespec* timeout);
int old_cancel(io_context_t ctx, struct iocb* request);
int old_queue_wait(io_context_t ctx, const struct timespec* timeout);
__asm__(".symver old_getevents, io_getevents@LIBAIO_0.1");
__asm__(".symver old_cancel, io_cancel@LIBAIO_0.1");
__asm__(".symver old_queue_wait, io_queue_wait@LIBAIO_0.1");

static const struct timespec no_wait = {0, 0};
static const struct timespec soon = {0, 1000000};

int main(void) {
  alarm(50);
  io_context_t ctx = NULL;
  EXPECT_AIO(io_queue_init(8, &ctx), 0);
  int ends[2];
  EXPECT(pipe(ends), 0);
  EXPECT(write(ends[1], "ab", 2), 2);
  struct io_event events[4];
  EXPECT_AIO(old_getevents(ctx, 4, events, &no_wait), 0);
  EXPECT_AIO(old_getevents(ctx, 4, events, &soon), 0);
  EXPECT_AIO(old_queue_wait(ctx, NULL), 0);
  EXPECT_AIO(old_queue_wait(ctx, &soon), 0);

  char text[2][2] = {"", ""};
  struct iocb read;
  struct iocb* list[] = {&read};
  for (int n = 0; n < 2; ++n) {
    io_prep_pread(&read, ends[0], text[n], 1, 0);
    EXPECT_AIO(io_submit(ctx, 1, list), 1);
    EXPECT_AIO(old_getevents(ctx, 4, events, NULL), 1);  // the available events, at least one
    EXPECT(events[0].obj == &read, 1);
    EXPECT(events[0].res, 1);
  }
  EXPECT(strcmp(text[0], "a") == 0 && strcmp(text[1], "b") == 0, 1);

  struct iocb poll;
  list[0] = &poll;
  io_prep_poll(&poll, ends[0], POLLIN);
  EXPECT_AIO(io_submit(ctx, 1, list), 1);
  EXPECT_AIO(old_cancel(ctx, &poll), -EINPROGRESS);
  EXPECT_AIO(old_getevents(ctx, 1, events, NULL), 1);
  EXPECT(events[0].obj == &poll, 1);
  EXPECT_AIO(old_cancel(ctx, &poll), -EINVAL);

  EXPECT_AIO(io_queue_release(ctx), 0);
  EXPECT_AIO(old_getevents(NULL, 1, events, NULL), -EINVAL);
  EXPECT_AIO(old_queue_wait(NULL, NULL), -EINVAL);
}
