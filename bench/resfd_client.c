/* SPDX-License-Identifier: Apache-2.0
 *
 * resfd_client FILE DEPTH: reads random blocks of a file for a while, as an event loop or a virtual machine monitor does: its
 * requests ring an eventfd that it polls, and the events it takes from the ring by itself. Prints nanoseconds for each read.
 * Knows only libaio.h, and is run with Debian's library and with ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { block = 4096, most_depth = 128 };

/* What stands at a context's address. */
struct ring {
  unsigned id;
  unsigned nr;
  unsigned head;
  unsigned tail;
  unsigned magic;
  unsigned compat_features;
  unsigned incompat_features;
  unsigned header_length;
  struct io_event events[];
};

static struct iocb requests[most_depth];
static _Alignas(4096) char buffers[most_depth][block];

static void check(int good, const char* what) {
  if (good) return;
  fprintf(stderr, "resfd_client: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* xorshift: the same blocks on either side. */
static uint64_t next_random(void) {
  static uint64_t state = 88172645463325252U;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static unsigned reap(struct ring* ring, struct iocb** done) {
  unsigned head = ring->head;
  const unsigned tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
  unsigned count = 0;
  for (; head != tail; head = (head + 1) % ring->nr) {
    check(ring->events[head].res == block, "a read was short");
    done[count++] = ring->events[head].obj;
  }
  __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
  return count;
}

/* @return how often it has been rung since the last time. */
static uint64_t wait_for_bell(int loop, int bell) {
  struct epoll_event rung;
  int there = 0;
  do there = epoll_wait(loop, &rung, 1, -1);
  while (there < 0 && errno == EINTR);
  uint64_t count = 0;
  check(there == 1 && read(bell, &count, sizeof count) == sizeof count, "eventfd");
  return count;
}

int main(int count, char** words) {
  const int depth = count == 3 ? atoi(words[2]) : 0;
  if (depth < 1 || depth > most_depth) {
    fprintf(stderr, "usage: resfd_client FILE DEPTH (1 to %d)\n", most_depth);
    return 2;
  }
  const int file = open(words[1], O_RDONLY | O_CLOEXEC);
  struct stat about;
  check(file >= 0 && fstat(file, &about) == 0, words[1]);
  const uint64_t blocks = (uint64_t)about.st_size / block;
  check(blocks > 0, "the file is too small");
  const int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event rung = {.events = EPOLLIN};
  check(bell >= 0 && loop >= 0 && epoll_ctl(loop, EPOLL_CTL_ADD, bell, &rung) == 0, "epoll");
  io_context_t context = 0;
  check(io_setup(most_depth, &context) == 0, "io_setup");

  struct iocb* todo[most_depth];
  for (int at = 0; at < depth; ++at) todo[at] = &requests[at];
  unsigned ready = (unsigned)depth;
  const double begin = now_ns();
  double end = begin;
  uint64_t reads = 0;
  uint64_t told = 0;
  while (end - begin < 1e9) {
    for (int times = 0; times < 1000; ++times) {
      for (unsigned at = 0; at < ready; ++at) {
        const long slot = todo[at] - requests;
        io_prep_pread(todo[at], file, buffers[slot], block, (long long)(next_random() % blocks) * block);
        io_set_eventfd(todo[at], bell);
      }
      for (unsigned done = 0; done < ready;) {
        const int taken = io_submit(context, (long)(ready - done), todo + done);
        check(taken > 0, "io_submit");
        done += (unsigned)taken;
      }
      told += wait_for_bell(loop, bell);
      ready = reap((struct ring*)context, todo);
      reads += ready;
      check(told <= reads, "the eventfd has counted more than is in the ring");
    }
    end = now_ns();
  }
  // Those that are in flight still, and counts that come after their events.
  const uint64_t timed = reads;
  for (unsigned left = (unsigned)depth - ready; left > 0 || told < reads; left -= ready, reads += ready) {
    told += wait_for_bell(loop, bell);
    ready = reap((struct ring*)context, todo);
  }
  check(told == reads, "the eventfd has not counted each event once");
  printf("%.2f\n", (end - begin) / (double)timed);
  return 0;
}
