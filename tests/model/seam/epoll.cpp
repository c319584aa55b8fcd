// SPDX-License-Identifier: Apache-2.0
//
// The kernel's epolls, on the eventfds of kernel.cpp. As in the kernel, each write or read of the file is an edge, even
// if it changes no readiness, and epoll_wait checks the file itself before it reports an event. Without EPOLLET the
// next epoll_wait checks a ready file again. After an event, a file with EPOLLONESHOT is not checked any more. A file
// that loses its last descriptor is no longer watched.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "checker/failure.hpp"
#include "checker/tracking.hpp"
#include "kernel.hpp"

namespace doorbell::model {
namespace {

bool has_edges(const void* asked) noexcept {
  const auto& epoll = *static_cast<const kernel_epoll*>(asked);
  return epoll.is_late || std::ranges::any_of(epoll.watched, &watched_file::is_ready);
}

std::vector<std::weak_ptr<kernel_epoll>>& all_epolls() {
  static std::vector<std::weak_ptr<kernel_epoll>> all;
  return all;
}

std::vector<std::shared_ptr<watched_file>> take_edges(kernel_epoll& epoll, std::size_t most) {
  std::vector<std::shared_ptr<watched_file>> taken;
  for (const auto& each : epoll.watched) {
    if (!each->is_ready || taken.size() == most) continue;
    each->is_ready = false;
    taken.push_back(each);
  }
  return taken;
}

/// @return whether there is an event to report.
bool look_at(scheduler& all, watched_file& one, epoll_event& said) {
  const auto file = one.file.lock();
  if (file == nullptr) return false;
  all.step({.name = "look at the file", .object = file.get(), .writes = false});
  said = one.asked;
  said.events = file->events() & one.asked.events;
  if (said.events == 0) return false;
  if (one.asked.events & EPOLLONESHOT)
    one.asked.events = 0;
  else if ((one.asked.events & EPOLLET) == 0)
    one.is_ready = true;
  return true;
}

int look_at_edges(scheduler& all, kernel_epoll& epoll, std::span<epoll_event> said) {
  std::size_t count = 0;
  for (const auto& each : take_edges(epoll, said.size()))
    if (look_at(all, *each, said[count])) ++count;
  return static_cast<int>(count);
}

auto find_watched(kernel_epoll& epoll, int number, const std::shared_ptr<kernel_eventfd>& file) {
  return std::ranges::find_if(epoll.watched,
                              [&](const auto& each) { return each->number == number && each->file.lock() == file; });
}

void expect_known(const epoll_event& asked) {
  constexpr unsigned known = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLONESHOT;
  if ((asked.events & ~known) != 0)
    fail(failure::broken_scenario,
         "the model checker's epoll supports only EPOLLIN, EPOLLOUT, EPOLLET and EPOLLONESHOT");
}

int watch(scheduler& all, const std::shared_ptr<kernel_epoll>& epoll, const descriptor& of, int number,
          const epoll_event& asked) {
  expect_known(asked);
  if (find_watched(*epoll, number, of.file) != epoll->watched.end()) return failed(EEXIST);
  const auto made = std::make_shared<watched_file>(watched_file{.number = number, .file = of.file, .asked = asked});
  all.step({.name = "watch the file", .object = of.file.get()});
  of.file->watchers.push_back({.epoll = epoll, .as = made});
  const bool is_there = (of.file->events() & asked.events) != 0;
  all.step({.name = "EPOLL_CTL_ADD", .object = epoll.get()});
  epoll->watched.push_back(made);
  if (is_there) made->is_ready = true;
  return 0;
}

/// Checks the file again, like EPOLL_CTL_ADD.
int watch_again(scheduler& all, kernel_epoll& epoll, const descriptor& of, int number, const epoll_event& asked) {
  expect_known(asked);
  all.step({.name = "EPOLL_CTL_MOD", .object = &epoll});
  const auto found = find_watched(epoll, number, of.file);
  if (found == epoll.watched.end()) return failed(ENOENT);
  auto& one = **found;
  one.asked = asked;
  all.step({.name = "look at the file", .object = of.file.get(), .writes = false});
  if ((of.file->events() & asked.events) != 0) one.is_ready = true;
  return 0;
}

int unwatch(scheduler& all, const std::shared_ptr<kernel_epoll>& epoll, const descriptor& of, int number) {
  all.step({.name = "EPOLL_CTL_DEL", .object = epoll.get()});
  const auto found = find_watched(*epoll, number, of.file);
  if (found == epoll->watched.end()) return failed(ENOENT);
  const auto gone = *found;
  epoll->watched.erase(found);
  all.step({.name = "watch the file no longer", .object = of.file.get()});
  std::erase_if(of.file->watchers, [&](const auto& each) { return each.as == gone; });
  return 0;
}

}  // namespace

void let_time_pass() {
  const not_tracked here;
  for (const auto& each : all_epolls()) {
    const auto epoll = each.lock();
    if (epoll == nullptr) continue;
    scheduler::one().step({.name = "time passes", .object = epoll.get()});
    epoll->is_late = true;
  }
}

// Reports the edge to the epolls that watched the file when it changed.
void tell_epolls(scheduler& all, const kernel_eventfd& file, unsigned events) {
  const auto watchers = file.watchers;
  for (const auto& each : watchers) {
    const auto epoll = each.epoll.lock();
    if (epoll == nullptr || (each.as->asked.events & events) == 0) continue;
    all.step({.name = "edge", .object = epoll.get()});
    each.as->is_ready = true;
  }
}

}  // namespace doorbell::model

using namespace doorbell::model;

// NOLINTBEGIN(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
extern "C" {

int __real_epoll_create1(int);
int __real_epoll_ctl(int, int, int, epoll_event*);
int __real_epoll_wait(int, epoll_event*, int, int);

int __wrap_epoll_create1(int flags) {
  if (!scheduler::one().running()) return __real_epoll_create1(flags);
  const not_tracked here;
  const auto made = std::make_shared<kernel_epoll>();
  std::erase_if(all_epolls(), [](const auto& each) { return each.expired(); });
  all_epolls().push_back(made);
  return add_descriptor({.file = nullptr, .epoll = made});
}

int __wrap_epoll_ctl(int number, int command, int of, epoll_event* asked) {
  if (!is_ours(number)) return __real_epoll_ctl(number, command, of, asked);
  const not_tracked here;
  const auto* const there = find_descriptor(number);
  if (there == nullptr) return failed(EBADF);
  const auto epoll = there->epoll;
  const auto* const target = find_descriptor(of);
  if (target == nullptr) return failed(EBADF);
  if (epoll == nullptr || target->file == nullptr || target->is_fdinfo) return failed(EINVAL);
  const auto file = *target;
  if (command == EPOLL_CTL_ADD) return watch(scheduler::one(), epoll, file, of, *asked);
  if (command == EPOLL_CTL_MOD) return watch_again(scheduler::one(), *epoll, file, of, *asked);
  if (command == EPOLL_CTL_DEL) return unwatch(scheduler::one(), epoll, file, of);
  return failed(EINVAL);
}

// A timeout expires only when the scenario calls let_time_pass: threads use a timeout only to notice a descriptor that
// the program has closed. The function holds no reference while it waits, because a thread that is left resting never
// releases it.
int __wrap_epoll_wait(int number, epoll_event* said, int most, int timeout) {
  if (!is_ours(number)) return __real_epoll_wait(number, said, most, timeout);
  const not_tracked here;
  auto& all = scheduler::one();
  const auto* const there = find_descriptor(number);
  if (there == nullptr) return failed(EBADF);
  if (there->epoll == nullptr || timeout == 0) return failed(EINVAL);
  auto& epoll = *there->epoll;
  for (;;) {
    all.step({.name = "epoll_wait", .object = &epoll, .ready = has_edges, .asked = &epoll, .rests = true});
    const int count = look_at_edges(all, epoll, {said, static_cast<std::size_t>(most)});
    if (count > 0 || std::exchange(epoll.is_late, false)) return count;
  }
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)
