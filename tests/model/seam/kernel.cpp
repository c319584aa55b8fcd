// SPDX-License-Identifier: Apache-2.0
//
// The kernel's descriptors and eventfds, as far as doorbell uses them. The linker wraps the system calls of the code
// under test, so that they call the functions here, and are steps of their threads. Calls with other descriptors go to
// the real kernel.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "checker/failure.hpp"
#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"
#include "kernel.hpp"

namespace doorbell::model {
namespace {

constexpr int first_number = 1000;
constexpr int dupfd_query = 1024 + 3;  // of linux/fcntl.h, since Linux 6.10
constexpr std::string_view fdinfo_folder = "/proc/thread-self/fdinfo/";

using descriptor_table = std::map<int, descriptor>;

constexpr std::size_t usual_room = 16;  // capacity of a socket, in messages

struct {
  std::array<descriptor_table, max_threads> tables;  // the first one is the program's
  unsigned tables_entered = 0;
  std::uint64_t last_inode = 0;
  std::size_t room = usual_room;
  bool program_closes_ours = false;
  bool allows_kernel_aio = false;
} state;

descriptor_table& descriptors() { return state.tables[scheduler::one().current().table]; }

/// Fails if the program's table has open descriptors. The kernel closes the descriptors of a private table when its
/// threads end.
void expect_all_closed() {
  const auto& programs = state.tables.front();
  if (!programs.empty())
    fail(failure::leak, "descriptor " + std::to_string(programs.begin()->first) + " is never closed");
  state = {};
}

/// A step: all threads of a table share the mapping from numbers to files.
void change_table() { scheduler::one().step({.name = "change the descriptors", .object = &descriptors()}); }

/// A step. @return null if the number is neither an eventfd nor the fdinfo file of one.
std::shared_ptr<kernel_eventfd> find_file(int number) {
  const auto* const there = find_descriptor(number);
  return there != nullptr ? there->file : nullptr;
}

bool is_readable(const void* file) noexcept { return static_cast<const kernel_eventfd*>(file)->count > 0; }

/// The room in the count that a write waits for.
struct room {
  const kernel_eventfd& file;
  std::uint64_t n;
  static bool is_there(const void* asked) noexcept {
    const auto& mine = *static_cast<const room*>(asked);
    return mine.n <= kernel_eventfd::most - mine.file.count;
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
  tell_epolls(all, file, EPOLLOUT);
  return sizeof taken;
}

ssize_t write_eventfd(scheduler& all, kernel_eventfd& file, const void* buffer) {
  std::uint64_t n = 0;
  std::memcpy(&n, buffer, sizeof n);
  if (n > kernel_eventfd::most) return failed(EINVAL);
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
  tell_epolls(all, file, EPOLLIN);
  return sizeof n;
}

bool has_room(const void* asked) noexcept {
  const auto& socket = *static_cast<const kernel_socket*>(asked);
  return socket.messages.size() < socket.room;
}

/// Waits until there is room in the socket. A timeout does not expire.
int wait_for_room(scheduler& all, pollfd& asked, const kernel_socket& socket) {
  all.step({.name = "poll", .object = &socket, .writes = false, .ready = has_room, .asked = &socket});
  asked.revents = POLLOUT;
  return 1;
}

int ready_events(scheduler& all, pollfd& asked) {
  const auto* const there = find_descriptor(asked.fd);
  if (there != nullptr && there->socket != nullptr) return wait_for_room(all, asked, *there->socket);
  const auto file = there != nullptr ? there->file : nullptr;
  if (file == nullptr) {
    asked.revents = POLLNVAL;
    return 1;
  }
  all.step({.name = "poll", .object = file.get(), .writes = false});
  asked.revents = static_cast<short>(static_cast<int>(file->events()) & asked.events);
  return asked.revents != 0 ? 1 : 0;
}

/// Like fcntl(2). Each command is a step or more.
int control(int number, int command, long argument) {
  const auto* const there = find_descriptor(number);
  if (there == nullptr || there->file == nullptr) return failed(EBADF);
  const auto mine = *there;
  switch (command) {
    case F_GETFL:
      return O_RDWR | (mine.file->non_blocking ? O_NONBLOCK : 0);
    case F_DUPFD_CLOEXEC:
      return add_descriptor(mine);
    case dupfd_query: {
      const auto* const other = find_descriptor(static_cast<int>(argument));
      return other == nullptr ? failed(EBADF) : static_cast<int>(other->file == mine.file);
    }
    default:
      return failed(EINVAL);
  }
}

}  // namespace

bool is_ours(int number) noexcept { return number >= first_number && scheduler::one().running(); }

descriptor* find_descriptor(int number) {
  scheduler::one().step({.name = "find the descriptor", .object = &descriptors(), .writes = false});
  const auto found = descriptors().find(number);
  return found != descriptors().end() ? &found->second : nullptr;
}

int add_descriptor(const descriptor& made) {
  change_table();
  scheduler::one().at_end(expect_all_closed);
  auto number = first_number;
  while (descriptors().contains(number)) ++number;
  descriptors()[number] = made;
  return number;
}

void enter_new_table(std::span<const int> kept) {
  change_table();
  auto& old = descriptors();
  scheduler::one().current().table = ++state.tables_entered;
  for (const auto number : kept)
    if (const auto found = old.find(number); found != old.end()) descriptors().insert(*found);
}

unsigned this_table() noexcept { return scheduler::one().current().table; }
void use_table(unsigned which) noexcept { scheduler::one().current().table = which; }

std::uint64_t inode_of(int number) noexcept {
  if (!is_ours(number)) return 0;
  const auto found = descriptors().find(number);
  return found != descriptors().end() && found->second.file != nullptr ? found->second.file->inode : 0;
}

void let_program_close_ours() noexcept { state.program_closes_ours = true; }

bool is_still(int number, std::uint64_t inode) noexcept {
  if (!state.program_closes_ours || !is_ours(number)) return true;
  const auto* const there = find_descriptor(number);
  return there != nullptr && inode_of(number) == inode;
}

void make_regular(int number) { descriptors().at(number).file->is_regular = true; }

void allow_kernel_aio() noexcept { state.allows_kernel_aio = true; }
bool allows_kernel_aio() noexcept { return state.allows_kernel_aio; }

bool signal_eventfd(int number, std::uint64_t n) {
  const auto file = find_file(number);
  if (file == nullptr || file->is_regular) return false;
  auto& all = scheduler::one();
  all.step({.name = "signal", .object = file.get()});
  file->count += std::min(n, UINT64_MAX - file->count);
  if (all.has_trace()) all.tell(std::to_string(n));
  tell_epolls(all, *file, EPOLLIN);
  return true;
}

std::shared_ptr<kernel_socket> make_socket() {
  return std::make_shared<kernel_socket>(kernel_socket{.room = state.room, .messages = {}});
}

void limit_messages(std::size_t most) noexcept { state.room = most; }

long references_to(int number) noexcept {
  const auto found = descriptors().find(number);
  return found != descriptors().end() ? found->second.file.use_count() : 0;
}

}  // namespace doorbell::model

using namespace doorbell::model;

// NOLINTBEGIN(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
extern "C" {

int __real_close(int);
int __real_fcntl(int, int, ...);
int __real_open(const char*, int, ...);
int __real_dup3(int, int, int);
int __real_fstatat(int, const char*, struct stat*, int);
int __real_poll(pollfd*, nfds_t, int);
int __real_eventfd(unsigned, int);
ssize_t __real_pread(int, void*, size_t, off_t);
ssize_t __real_read(int, void*, size_t);
ssize_t __real_write(int, const void*, size_t);

int __wrap_eventfd(unsigned initial, int flags) {
  if (!scheduler::one().running()) return __real_eventfd(initial, flags);
  const not_tracked here;
  const auto made = std::make_shared<kernel_eventfd>(kernel_eventfd{.count = initial,
                                                                    .semaphore = (flags & EFD_SEMAPHORE) != 0,
                                                                    .non_blocking = (flags & EFD_NONBLOCK) != 0,
                                                                    .inode = ++state.last_inode,
                                                                    .watchers = {}});
  return add_descriptor({.file = made});
}

int __wrap_close(int number) {
  if (!is_ours(number)) return __real_close(number);
  const not_tracked here;
  change_table();
  return descriptors().erase(number) != 0 ? 0 : failed(EBADF);
}

int __wrap_dup3(int from, int to, int flags) {
  if (!is_ours(from)) return __real_dup3(from, to, flags);
  const not_tracked here;
  change_table();
  const auto found = descriptors().find(from);
  if (found == descriptors().end()) return failed(EBADF);
  descriptors()[to] = found->second;
  return to;
}

int __wrap_fstatat(int number, const char* path, struct stat* status, int flags) {
  if (!is_ours(number)) return __real_fstatat(number, path, status, flags);
  const not_tracked here;
  const auto file = find_file(number);
  if (file == nullptr) return failed(EBADF);
  *status = {};
  status->st_ino = file->inode;
  return 0;
}

int __wrap_fcntl(int number, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const long argument = va_arg(rest, long);
  va_end(rest);
  if (!is_ours(number)) return __real_fcntl(number, command, argument);
  const not_tracked here;
  return control(number, command, argument);
}

int __wrap_open(const char* path, int flags, ...) {
  const std::string_view name{path};
  if (!scheduler::one().running() || !name.starts_with(fdinfo_folder)) return __real_open(path, flags, 0);
  const not_tracked here;
  const auto file = find_file(std::atoi(path + fdinfo_folder.size()));
  if (file == nullptr) return failed(ENOENT);
  return add_descriptor({.file = file, .is_fdinfo = true});
}

ssize_t __wrap_pread(int number, void* buffer, size_t bytes, off_t from) {
  if (!is_ours(number)) return __real_pread(number, buffer, bytes, from);
  const not_tracked here;
  const auto file = find_file(number);
  if (file == nullptr) return failed(EBADF);
  scheduler::one().step({.name = "pread", .object = file.get(), .writes = false});
  return std::snprintf(static_cast<char*>(buffer), bytes, "pos:\t0\nflags:\t02\neventfd-count: %16llx\n",
                       static_cast<unsigned long long>(file->count));
}

ssize_t __wrap_read(int number, void* buffer, size_t bytes) {
  if (!is_ours(number)) return __real_read(number, buffer, bytes);
  const not_tracked here;
  const auto file = find_file(number);
  if (file == nullptr) return failed(EBADF);
  return read_eventfd(scheduler::one(), *file, buffer);
}

ssize_t __wrap_write(int number, const void* buffer, size_t bytes) {
  if (!is_ours(number)) return __real_write(number, buffer, bytes);
  const not_tracked here;
  const auto file = find_file(number);
  if (file == nullptr) return failed(EBADF);
  return write_eventfd(scheduler::one(), *file, buffer);
}

int __wrap_poll(pollfd* asked, nfds_t count, int timeout) {
  if (count != 1 || !is_ours(asked->fd)) return __real_poll(asked, count, timeout);
  const not_tracked here;
  return ready_events(scheduler::one(), *asked);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
