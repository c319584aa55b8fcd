/* SPDX-License-Identifier: Apache-2.0
 *
 * resfd_client [--direct] [--calls] [--threads=N] FILE DEPTH: reads random blocks of a file for one second, in the way
 * of an event loop or a virtual machine monitor: its requests signal an eventfd that it waits for with epoll. It reads
 * the events from the ring, as QEMU does, or gets them by calls of io_getevents, as tgtd and nginx do. Prints
 * nanoseconds per read, nanoseconds of CPU time per read, and the number of EINTR results of epoll_wait. It uses only
 * libaio.h, and runs with Debian's libaio and with the drop-in.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libaio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { block = 4096, most_depth = 128, most_threads = 16, rounds_between_looks = 100 };

/* The header of the ring, at the address that is the context's handle. */
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

/* One thread with its context, eventfd and epoll. */
struct client {
  pthread_t thread;
  io_context_t context;
  int eventfd;
  int epoll;
  struct iocb requests[most_depth];
  struct iocb* todo[most_depth];
  char* buffers;
  uint64_t random;
  uint64_t reads; /* completed within the measured time */
};

static int depth;
static int gets_by_calls;
static int file;
static uint64_t blocks;
static double begin_ns;
static double end_ns;
static atomic_uint interrupted;
static struct client clients[most_threads];

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

static double cpu_ns(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

/* xorshift with a fixed seed: both libraries read the same blocks. */
static uint64_t next_random(struct client* me) {
  me->random ^= me->random << 13;
  me->random ^= me->random >> 7;
  me->random ^= me->random << 17;
  return me->random;
}

static unsigned read_ring(struct client* me) {
  struct ring* const ring = (struct ring*)me->context;
  unsigned head = ring->head;
  const unsigned tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
  unsigned count = 0;
  for (; head != tail; head = (head + 1) % ring->nr) {
    check(ring->events[head].res == block, "a read was short");
    me->todo[count++] = ring->events[head].obj;
  }
  __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
  return count;
}

/* Gets at most `counted` events, since the eventfd has counted so many. */
static unsigned get_by_call(struct client* me, uint64_t counted) {
  struct io_event events[most_depth];
  const int got = io_getevents(me->context, 1, (long)counted, events, NULL);
  check(got > 0, "io_getevents");
  for (int at = 0; at < got; ++at) {
    check(events[at].res == block, "a read was short");
    me->todo[at] = events[at].obj;
  }
  return (unsigned)got;
}

/* @return the number of signals since the last call. */
static uint64_t wait_for_signal(struct client* me) {
  struct epoll_event signalled;
  int there = 0;
  while ((there = epoll_wait(me->epoll, &signalled, 1, -1)) < 0 && errno == EINTR) atomic_fetch_add(&interrupted, 1);
  uint64_t count = 0;
  check(there == 1 && read(me->eventfd, &count, sizeof count) == sizeof count, "eventfd");
  return count;
}

static void submit(struct client* me, unsigned ready) {
  for (unsigned at = 0; at < ready; ++at) {
    const long slot = me->todo[at] - me->requests;
    io_prep_pread(me->todo[at], file, me->buffers + slot * block, block, (long long)(next_random(me) % blocks) * block);
    io_set_eventfd(me->todo[at], me->eventfd);
  }
  for (unsigned done = 0; done < ready;) {
    const int taken = io_submit(me->context, (long)(ready - done), me->todo + done);
    check(taken > 0, "io_submit");
    done += (unsigned)taken;
  }
}

static unsigned get_ready(struct client* me, uint64_t counted) {
  return gets_by_calls ? get_by_call(me, counted) : read_ring(me);
}

static void* run(void* argument) {
  struct client* const me = argument;
  unsigned ready = (unsigned)depth;
  uint64_t signalled = 0;
  uint64_t reads = 0;
  for (int at = 0; at < depth; ++at) me->todo[at] = &me->requests[at];
  while (now_ns() < end_ns) {
    for (int times = 0; times < rounds_between_looks; ++times) {
      submit(me, ready);
      const uint64_t counted = wait_for_signal(me);
      signalled += counted;
      ready = get_ready(me, counted);
      reads += ready;
      check(signalled <= reads, "the eventfd has counted more than there are events");
    }
  }
  me->reads = reads;
  /* Waits for the requests still in flight, and for counts that arrive after their events. */
  for (unsigned left = (unsigned)depth - ready; left > 0 || signalled < reads; left -= ready, reads += ready) {
    const uint64_t counted = wait_for_signal(me);
    signalled += counted;
    ready = left == 0 ? 0 : get_ready(me, counted);
  }
  check(signalled == reads, "the eventfd has not counted each event once");
  return NULL;
}

static void prepare(struct client* me, unsigned number) {
  me->random = 88172645463325252U + number;
  me->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  me->epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event readable = {.events = EPOLLIN};
  check(me->eventfd >= 0 && me->epoll >= 0 && epoll_ctl(me->epoll, EPOLL_CTL_ADD, me->eventfd, &readable) == 0,
        "epoll");
  me->buffers = aligned_alloc(block, (size_t)most_depth * block);
  check(me->buffers != NULL, "memory");
  memset(me->buffers, 0, (size_t)most_depth * block);
  check(io_setup(most_depth, &me->context) == 0, "io_setup");
}

int main(int count, char** words) {
  static const struct option options[] = {{"direct", no_argument, NULL, 'd'},
                                          {"calls", no_argument, NULL, 'c'},
                                          {"threads", required_argument, NULL, 't'},
                                          {0}};
  int flags = O_RDONLY | O_CLOEXEC;
  int threads = 1;
  int is_understood = 1;
  for (int option = 0; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
    if (option == 'd') flags |= O_DIRECT;
    if (option == 'c') gets_by_calls = 1;
    if (option == 't') threads = atoi(optarg);
    if (option == '?') is_understood = 0;
  }
  depth = count == optind + 2 ? atoi(words[optind + 1]) : 0;
  if (!is_understood || depth < 1 || depth > most_depth || threads < 1 || threads > most_threads) {
    fprintf(stderr, "usage: resfd_client [--direct] [--calls] [--threads=N] FILE DEPTH (N: 1 to %d, DEPTH: 1 to %d)\n",
            most_threads, most_depth);
    return 2;
  }
  file = open(words[optind], flags);
  struct stat about;
  check(file >= 0 && fstat(file, &about) == 0, words[optind]);
  blocks = (uint64_t)about.st_size / block;
  check(blocks > 0, "the file is too small");
  for (int at = 0; at < threads; ++at) prepare(&clients[at], (unsigned)at);
  const double cpu_before = cpu_ns();
  begin_ns = now_ns();
  end_ns = begin_ns + 1e9;
  for (int at = 0; at < threads; ++at)
    check(pthread_create(&clients[at].thread, NULL, run, &clients[at]) == 0, "pthread_create");
  uint64_t reads = 0;
  for (int at = 0; at < threads; ++at) {
    check(pthread_join(clients[at].thread, NULL) == 0, "pthread_join");
    reads += clients[at].reads;
  }
  const double passed = now_ns() - begin_ns;
  printf("%.2f %.2f %u\n", passed / (double)reads, (cpu_ns() - cpu_before) / (double)reads, interrupted);
  return 0;
}
