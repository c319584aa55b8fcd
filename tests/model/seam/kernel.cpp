// SPDX-License-Identifier: Apache-2.0
//
// The kernel's eventfds, as far as doorbell uses them: the system calls of the code under test come here (the linker wraps
// them), and are steps of their threads. Descriptors that are not of here go on to the kernel.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string_view>

#include "checker/failure.hpp"
#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace {

using namespace doorbell::model;

struct kernel_eventfd {
  std::uint64_t count;
  const bool semaphore;
  const bool non_blocking;
};

struct descriptor {
  std::shared_ptr<kernel_eventfd> file;
  bool is_fdinfo = false;
};

constexpr int first_number = 1000;
constexpr std::uint64_t most = UINT64_MAX - 1;
constexpr std::string_view fdinfo_folder = "/proc/self/fdinfo/";

std::map<int, descriptor>& descriptors() {
  static std::map<int, descriptor> all;
  return all;
}

void expect_all_closed() {
  if (!descriptors().empty())
    fail(failure::leak, "descriptor " + std::to_string(descriptors().begin()->first) + " is never closed");
}

int failed(int error) noexcept {
  errno = error;
  return -1;
}

bool is_ours(int number) noexcept { return number >= first_number && scheduler::one().running(); }

/// A step: which number is whose is common to all threads.
void change_table() { scheduler::one().step({.name = "change the descriptors", .object = &descriptors()}); }

/// A step.
descriptor* find(int number) {
  scheduler::one().step({.name = "find the descriptor", .object = &descriptors(), .writes = false});
  const auto found = descriptors().find(number);
  return found != descriptors().end() ? &found->second : nullptr;
}

/// The lowest number that is free, as the kernel does it. A step.
int add(const descriptor& made) {
  change_table();
  scheduler::one().at_end(expect_all_closed);
  auto number = first_number;
  while (descriptors().contains(number)) ++number;
  descriptors()[number] = made;
  return number;
}

bool is_readable(const void* file) noexcept { return static_cast<const kernel_eventfd*>(file)->count > 0; }

/// What a write waits for.
struct room {
  const kernel_eventfd& file;
  std::uint64_t n;
  static bool is_there(const void* asked) noexcept {
    const auto& mine = *static_cast<const room*>(asked);
    return mine.n <= most - mine.file.count;
  }
};

ssize_t read_eventfd(scheduler& all, kernel_eventfd& file, void* buffer) {
  operation reading{.name = "read", .object = &file};
  if (!file.non_blocking) {
    reading.ready = is_readable;
    reading.asked = &file;
  }
  all.step(reading);
  if (file.count == 0) return failed(EAGAIN);
  const auto taken = file.semaphore ? 1 : file.count;
  file.count -= taken;
  std::memcpy(buffer, &taken, sizeof taken);
  return sizeof taken;
}

ssize_t write_eventfd(scheduler& all, kernel_eventfd& file, const void* buffer) {
  std::uint64_t n = 0;
  std::memcpy(&n, buffer, sizeof n);
  if (n > most) return failed(EINVAL);
  const room needed{.file = file, .n = n};
  operation writing{.name = "write", .object = &file};
  if (!file.non_blocking) {
    writing.ready = room::is_there;
    writing.asked = &needed;
  }
  all.step(writing);
  if (!room::is_there(&needed)) return failed(EAGAIN);
  file.count += n;
  if (all.has_trace()) all.tell(std::to_string(n));
  return sizeof n;
}

int ready_events(scheduler& all, pollfd& asked) {
  auto* const there = find(asked.fd);
  if (there == nullptr) {
    asked.revents = POLLNVAL;
    return 1;
  }
  const auto& file = *there->file;
  all.step({.name = "poll", .object = &file, .writes = false});
  const int events = (file.count > 0 ? POLLIN : 0) | (file.count < most ? POLLOUT : 0);
  asked.revents = static_cast<short>(events & asked.events);
  return asked.revents != 0 ? 1 : 0;
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
extern "C" {

int __real_close(int);
int __real_fcntl(int, int, ...);
int __real_open(const char*, int, ...);
int __real_poll(pollfd*, nfds_t, int);
int __real_eventfd(unsigned, int);
ssize_t __real_pread(int, void*, size_t, off_t);
ssize_t __real_read(int, void*, size_t);
ssize_t __real_write(int, const void*, size_t);

int __wrap_eventfd(unsigned initial, int flags) {
  if (!scheduler::one().running()) return __real_eventfd(initial, flags);
  const not_tracked here;
  return add(
      {.file = std::make_shared<kernel_eventfd>(initial, (flags & EFD_SEMAPHORE) != 0, (flags & EFD_NONBLOCK) != 0)});
}

int __wrap_close(int number) {
  if (!is_ours(number)) return __real_close(number);
  const not_tracked here;
  change_table();
  return descriptors().erase(number) != 0 ? 0 : failed(EBADF);
}

int __wrap_fcntl(int number, int command, ...) {
  if (!is_ours(number)) {
    va_list rest;
    va_start(rest, command);
    const long argument = va_arg(rest, long);
    va_end(rest);
    return __real_fcntl(number, command, argument);
  }
  const not_tracked here;
  auto* const there = find(number);
  if (there == nullptr) return failed(EBADF);
  if (command == F_GETFL) return O_RDWR | (there->file->non_blocking ? O_NONBLOCK : 0);
  if (command == F_DUPFD_CLOEXEC) return add(descriptor{*there});
  return failed(EINVAL);
}

int __wrap_open(const char* path, int flags, ...) {
  const std::string_view name{path};
  if (!scheduler::one().running() || !name.starts_with(fdinfo_folder)) return __real_open(path, flags, 0);
  const not_tracked here;
  auto* const there = find(std::atoi(path + fdinfo_folder.size()));
  if (there == nullptr) return failed(ENOENT);
  return add({.file = there->file, .is_fdinfo = true});
}

ssize_t __wrap_pread(int number, void* buffer, size_t bytes, off_t from) {
  if (!is_ours(number)) return __real_pread(number, buffer, bytes, from);
  const not_tracked here;
  auto* const there = find(number);
  if (there == nullptr) return failed(EBADF);
  const auto file = there->file;
  scheduler::one().step({.name = "pread", .object = file.get(), .writes = false});
  return std::snprintf(static_cast<char*>(buffer), bytes, "pos:\t0\nflags:\t02\neventfd-count: %16llx\n",
                       static_cast<unsigned long long>(file->count));
}

ssize_t __wrap_read(int number, void* buffer, size_t bytes) {
  if (!is_ours(number)) return __real_read(number, buffer, bytes);
  const not_tracked here;
  auto* const there = find(number);
  if (there == nullptr) return failed(EBADF);
  const auto file = there->file;
  return read_eventfd(scheduler::one(), *file, buffer);
}

ssize_t __wrap_write(int number, const void* buffer, size_t bytes) {
  if (!is_ours(number)) return __real_write(number, buffer, bytes);
  const not_tracked here;
  auto* const there = find(number);
  if (there == nullptr) return failed(EBADF);
  const auto file = there->file;
  return write_eventfd(scheduler::one(), *file, buffer);
}

int __wrap_poll(pollfd* asked, nfds_t count, int timeout) {
  if (count != 1 || !is_ours(asked->fd)) return __real_poll(asked, count, timeout);
  const not_tracked here;
  return ready_events(scheduler::one(), *asked);
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
