// SPDX-License-Identifier: Apache-2.0
//
// Wrappers that the linker substitutes for the functions that CMakeLists.txt lists (--wrap), which make system calls
// and are called often: they count the call and make it. liburing makes system calls itself; its functions count as the
// number of calls that they make.
#include "system_calls.hpp"

#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdarg>
#include <ctime>

using doorbell::libaio::system_calls;

// NOLINTBEGIN(readability-identifier-naming): the names are the linker's
#define DOORBELL_COUNTED(made, result, name, parameters, arguments) \
  result __real_##name parameters;                                  \
  result __wrap_##name parameters {                                 \
    system_calls::add(made);                                        \
    return __real_##name arguments;                                 \
  }

extern "C" {

DOORBELL_COUNTED(1, ssize_t, read, (int fd, void* into, std::size_t size), (fd, into, size))
DOORBELL_COUNTED(1, ssize_t, write, (int fd, const void* from, std::size_t size), (fd, from, size))
DOORBELL_COUNTED(1, ssize_t, pread, (int fd, void* into, std::size_t size, off_t at), (fd, into, size, at))
DOORBELL_COUNTED(1, ssize_t, readv, (int fd, const iovec* into, int count), (fd, into, count))
DOORBELL_COUNTED(1, ssize_t, writev, (int fd, const iovec* from, int count), (fd, from, count))
DOORBELL_COUNTED(1, ssize_t, preadv, (int fd, const iovec* into, int count, off_t at), (fd, into, count, at))
DOORBELL_COUNTED(1, ssize_t, pwritev, (int fd, const iovec* from, int count, off_t at), (fd, from, count, at))
DOORBELL_COUNTED(1, ssize_t, preadv2, (int fd, const iovec* into, int count, off_t at, int flags),
                 (fd, into, count, at, flags))
DOORBELL_COUNTED(1, ssize_t, pwritev2, (int fd, const iovec* from, int count, off_t at, int flags),
                 (fd, from, count, at, flags))
DOORBELL_COUNTED(1, ssize_t, sendmsg, (int fd, const msghdr* what, int flags), (fd, what, flags))
DOORBELL_COUNTED(1, ssize_t, recvmsg, (int fd, msghdr* what, int flags), (fd, what, flags))
DOORBELL_COUNTED(1, ssize_t, process_vm_readv,
                 (pid_t process, const iovec* here, unsigned long heres, const iovec* there, unsigned long theres,
                  unsigned long flags),
                 (process, here, heres, there, theres, flags))
DOORBELL_COUNTED(1, ssize_t, process_vm_writev,
                 (pid_t process, const iovec* here, unsigned long heres, const iovec* there, unsigned long theres,
                  unsigned long flags),
                 (process, here, heres, there, theres, flags))
DOORBELL_COUNTED(1, int, fsync, (int fd), (fd))
DOORBELL_COUNTED(1, int, fdatasync, (int fd), (fd))
DOORBELL_COUNTED(1, int, fstat, (int fd, struct stat* into), (fd, into))
DOORBELL_COUNTED(1, int, fstatfs, (int fd, struct statfs* into), (fd, into))
DOORBELL_COUNTED(1, int, close, (int fd), (fd))
DOORBELL_COUNTED(1, int, isatty, (int fd), (fd))
DOORBELL_COUNTED(1, int, statx, (int fd, const char* path, int flags, unsigned what, struct statx* into),
                 (fd, path, flags, what, into))
DOORBELL_COUNTED(1, int, pipe2, (int* ends, int flags), (ends, flags))
DOORBELL_COUNTED(1, int, poll, (pollfd * which, nfds_t count, int timeout), (which, count, timeout))
DOORBELL_COUNTED(1, int, ppoll, (pollfd * which, nfds_t count, const timespec* timeout, const sigset_t* mask),
                 (which, count, timeout, mask))
DOORBELL_COUNTED(1, int, epoll_create1, (int flags), (flags))
DOORBELL_COUNTED(1, int, epoll_ctl, (int epoll, int what, int fd, epoll_event* event), (epoll, what, fd, event))
DOORBELL_COUNTED(1, int, epoll_wait, (int epoll, epoll_event* events, int most, int timeout),
                 (epoll, events, most, timeout))
DOORBELL_COUNTED(1, int, eventfd, (unsigned initial, int flags), (initial, flags))
DOORBELL_COUNTED(1, int, eventfd_read, (int fd, eventfd_t* into), (fd, into))
DOORBELL_COUNTED(1, int, eventfd_write, (int fd, eventfd_t number), (fd, number))
DOORBELL_COUNTED(1, void*, mmap, (void* where, std::size_t size, int access, int flags, int fd, off_t at),
                 (where, size, access, flags, fd, at))
DOORBELL_COUNTED(1, int, munmap, (void* where, std::size_t size), (where, size))
DOORBELL_COUNTED(1, int, madvise, (void* where, std::size_t size, int advice), (where, size, advice))
DOORBELL_COUNTED(1, int, pthread_sigmask, (int how, const sigset_t* wanted, sigset_t* before), (how, wanted, before))
DOORBELL_COUNTED(1, int, sched_yield, (), ())
DOORBELL_COUNTED(1, int, getrlimit, (__rlimit_resource which, rlimit* into), (which, into))
// One call, to sleep: locking the mutex again usually makes no system call.
DOORBELL_COUNTED(1, int, pthread_cond_clockwait,
                 (pthread_cond_t * cond, pthread_mutex_t* held, clockid_t clock, const timespec* until),
                 (cond, held, clock, until))

// io_uring_setup and two mmaps; two madvises; two munmaps.
DOORBELL_COUNTED(3, int, io_uring_queue_init_params, (unsigned entries, io_uring* ring, io_uring_params* parameters),
                 (entries, ring, parameters))
DOORBELL_COUNTED(2, int, io_uring_ring_dontfork, (io_uring * ring), (ring))
DOORBELL_COUNTED(2, void, io_uring_queue_exit, (io_uring * ring), (ring))
DOORBELL_COUNTED(1, int, io_uring_submit, (io_uring * ring), (ring))
DOORBELL_COUNTED(1, int, io_uring_enter2,
                 (unsigned fd, unsigned submit, unsigned wait_for, unsigned flags, sigset_t* mask, std::size_t size),
                 (fd, submit, wait_for, flags, mask, size))

DOORBELL_COUNTED(1, long, doorbell_kernel_call,
                 (long number, long first, long second, long third, long fourth, long fifth, long sixth),
                 (number, first, second, third, fourth, fifth, sixth))

// Functions with optional arguments: the kernel does not read an argument that the call does not have.

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  const auto a = va_arg(rest, long);
  const auto b = va_arg(rest, long);
  const auto c = va_arg(rest, long);
  const auto d = va_arg(rest, long);
  const auto e = va_arg(rest, long);
  const auto f = va_arg(rest, long);
  va_end(rest);
  system_calls::add();
  return __real_syscall(number, a, b, c, d, e, f);
}

#define DOORBELL_COUNTED_WITH_ONE_MORE(name, first, second) \
  int __real_##name(first, second, ...);                    \
  int __wrap_##name(first one, second other, ...) {         \
    va_list rest;                                           \
    va_start(rest, other);                                  \
    const auto more = va_arg(rest, long);                   \
    va_end(rest);                                           \
    system_calls::add();                                    \
    return __real_##name(one, other, more);                 \
  }

DOORBELL_COUNTED_WITH_ONE_MORE(fcntl, int, int)
DOORBELL_COUNTED_WITH_ONE_MORE(ioctl, int, unsigned long)
DOORBELL_COUNTED_WITH_ONE_MORE(open, const char*, int)

void* __real_mremap(void* where, std::size_t size, std::size_t wanted, int flags, ...);
void* __wrap_mremap(void* where, std::size_t size, std::size_t wanted, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  auto* const to = va_arg(rest, void*);
  va_end(rest);
  system_calls::add();
  return __real_mremap(where, size, wanted, flags, to);
}
}
// NOLINTEND(readability-identifier-naming)
