// SPDX-License-Identifier: Apache-2.0
//
// ring_client FILE magic|blindly eventfd|nothing: like some real programs, never calls io_getevents. It waits for its
// own eventfd with epoll, or has none, and takes the events out of the ring at the context's handle, with or without a
// check of the ring's magic number. It reads random blocks of a file, and verifies their content, and that the eventfd
// counts each event once.
//
// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { block = 4096, blocks = 512, depth = 32, requests = 20000, ring_magic = 0xa10a10a1, iocb_flag_ioprio = 2 };

// The kernel's layout of the memory at the handle.
struct ring {
  unsigned id, nr, head, tail;
  unsigned magic, compat, incompat, header_length;
  struct io_event events[];
};

struct slot {
  struct iocb read;
  uint64_t at;  // the number of the block
  uint64_t text[block / sizeof(uint64_t)];
};

static void require(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s (errno: %s)\n", what, strerror(errno));
  exit(EXIT_FAILURE);
}

static int written_file(const char* path) {
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  require(fd >= 0, path);
  for (uint64_t at = 0; at < blocks; ++at) {
    uint64_t text[block / sizeof(uint64_t)];
    for (size_t n = 0; n < block / sizeof(uint64_t); ++n) text[n] = at << 32 | n;
    require(pwrite(fd, text, block, (off_t)at * block) == block, "pwrite");
  }
  return fd;
}

static void read_somewhere(io_context_t ctx, struct slot* slot, int fd, int efd) {
  static uint64_t random = 88172645463325252u;
  random ^= random << 13;
  random ^= random >> 7;
  random ^= random << 17;
  slot->at = random % blocks;
  memset(slot->text, 0xee, block);
  io_prep_pread(&slot->read, fd, slot->text, block, (long long)slot->at * block);
  if (efd >= 0)
    io_set_eventfd(&slot->read, efd);
  else
    slot->read.u.c.flags |=
        iocb_flag_ioprio;  // priority 0 has no effect, but keeps io_submit from completing the read inline
  slot->read.data = slot;
  struct iocb* list[] = {&slot->read};
  require(io_submit(ctx, 1, list) == 1, "io_submit");
}

static void verify(const struct slot* slot) {
  for (size_t n = 0; n < block / sizeof(uint64_t); ++n)
    require(slot->text[n] == (slot->at << 32 | n), "a read gets the content of the file");
}

// Returns the number of signals since the last call.
static uint64_t wait_for_eventfd(int loop, int efd) {
  struct epoll_event ready;
  require(epoll_wait(loop, &ready, 1, -1) == 1, "epoll_wait");
  uint64_t count = 0;
  require(read(efd, &count, sizeof count) == sizeof count, "the eventfd is readable when epoll reports it");
  return count;
}

int main(int argc, char** argv) {
  require(argc == 4, "usage: ring_client FILE magic|blindly eventfd|nothing");
  alarm(50);
  const int fd = written_file(argv[1]);
  const int efd = strcmp(argv[3], "eventfd") == 0 ? eventfd(0, EFD_NONBLOCK) : -1;
  const int loop = epoll_create1(0);
  struct epoll_event wanted = {.events = EPOLLIN};
  require(efd < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, efd, &wanted) == 0, "epoll_ctl");
  io_context_t ctx = NULL;
  require(io_setup(depth, &ctx) == 0, "io_setup");
  struct ring* const ring = (struct ring*)ctx;
  if (strcmp(argv[2], "magic") == 0)
    require(ring->magic == ring_magic && ring->incompat == 0 && ring->header_length == sizeof *ring,
            "the ring's header");

  static struct slot slots[depth];
  unsigned submitted = 0;
  for (; submitted < depth; ++submitted) read_somewhere(ctx, &slots[submitted], fd, efd);
  uint64_t signals = 0;
  for (unsigned got = 0; got < requests;) {
    if (efd >= 0)
      signals += wait_for_eventfd(loop, efd);
    else
      sched_yield();
    const unsigned tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
    unsigned head = ring->head;
    while (head != tail) {
      const struct io_event event = ring->events[head];
      head = (head + 1) % ring->nr;
      __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);  // the slot may be reused
      ++got;
      require(event.res == block && event.res2 == 0, "a whole block is read");
      struct slot* const slot = event.data;
      require(event.obj == &slot->read, "the event belongs to the request");
      verify(slot);
      if (submitted == requests) continue;
      read_somewhere(ctx, slot, fd, efd);
      ++submitted;
    }
  }
  // An event may be in the ring before the eventfd has counted it.
  while (efd >= 0 && signals < requests) signals += wait_for_eventfd(loop, efd);
  require(efd < 0 || signals == requests, "each event is counted once");
  require(ring->head == ring->tail, "the ring is empty at the end");
  require(io_destroy(ctx) == 0, "io_destroy");
  unlink(argv[1]);
}
