// SPDX-License-Identifier: Apache-2.0
#include "poller.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <new>
#include <span>
#include <utility>

#include "../../request/operation.hpp"
#include "../../system/raw_calls.hpp"

namespace doorbell::aio {
namespace {

// The key of the wakeup eventfd in the epoll; the keys of watches begin with 1.
constexpr std::uint64_t of_wakeup = 0;

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

epoll_event once(unsigned events, std::uint64_t watch) noexcept {
  epoll_event event{};
  event.events = events | EPOLLONESHOT;
  event.data.u64 = watch;
  return event;
}

}  // namespace

std::error_code poller::open() noexcept {
  epoll_ = raw::make_epoll();
  if (epoll_ < 0) return last_error();
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = of_wakeup;
  return raw::control_epoll(epoll_, EPOLL_CTL_ADD, wakeup_.number(), &event) ? std::error_code{} : last_error();
}

std::error_code poller::add(client& whose, request& held, unsigned events) noexcept {
  std::error_code error;
  {
    const base::mutex_lock locked{lock_};
    const auto watch = ++last_watch_;
    try {
      new_.reserve(new_.size() + 1);
      waiting_.emplace(watch, waiting{&whose, &held, events});
    } catch (const std::bad_alloc&) {
      return std::make_error_code(std::errc::not_enough_memory);
    }
    new_.push_back(watch);
    held.by_threads.watch = watch;
    error = let_go_locked(held);
    // equivalent fault (dropped, call): the caller completes the request, and calls remove() if it still has a key
    if (error) waiting_.erase(std::exchange(held.by_threads.watch, 0));
  }
  if (!error) wakeup_.wake();
  return error;
}

std::error_code poller::add_again(request& held, unsigned events) noexcept {
  const auto& note = held.by_threads;
  const int number = pins_.number(note.pinned);
  const base::mutex_lock locked{lock_};
  auto event = once(events, note.watch);
  if (!raw::control_epoll(epoll_, EPOLL_CTL_MOD, number, &event)) return last_error();
  return let_go_locked(held);
}

// The poller's thread cannot take the request before the lock is released. If a cancel takes it, the cancel acquires
// the lock, too, before it completes the request.
std::error_code poller::let_go_locked(request& held) noexcept {
  held.by_threads.put_back();
  const bool was_cancelled = held.cancelled.load(base::memory_order_seq_cst) && held.by_threads.take();
  return was_cancelled ? std::make_error_code(std::errc::operation_canceled) : std::error_code{};
}

void poller::remove(request& held) noexcept {
  const base::mutex_lock locked{lock_};
  waiting_.erase(std::exchange(held.by_threads.watch, 0));
}

poller::waiting poller::take(std::uint64_t watch) noexcept {
  const base::mutex_lock locked{lock_};
  const auto at = waiting_.find(watch);
  const bool taken = at != waiting_.end() && at->second.what->by_threads.take();
  return taken ? at->second : waiting{};
}

bool poller::is_empty() noexcept {
  const base::mutex_lock locked{lock_};
  return waiting_.empty();
}

void poller::arm_new() noexcept {
  std::vector<std::uint64_t> added;
  {
    const base::mutex_lock locked{lock_};
    added.swap(new_);
  }
  for (const auto watch : added) {
    const int error = arm(watch);
    if (error == 0) continue;
    if (const auto found = take(watch); found.what != nullptr) found.whose->refused(*found.what, error);
  }
}

// @return 0, also if the request is gone, or the errno of epoll_ctl(2).
int poller::arm(std::uint64_t watch) noexcept {
  const base::mutex_lock locked{lock_};
  const auto at = waiting_.find(watch);
  if (at == waiting_.end()) return 0;
  const auto& asked = *at->second.what;
  if (asked.by_threads.needs_reopening) reopen_without_sleeping(asked);
  const int number = pins_.number(asked.by_threads.pinned);
  if (number < 0) return EMFILE;
  auto event = once(at->second.events, watch);
  if (!raw::control_epoll(epoll_, EPOLL_CTL_ADD, number, &event)) return errno;
  pins_.note_epoll(asked.by_threads.pinned, epoll_);
  return 0;
}

// O_NONBLOCK belongs to the file description, which the program shares; but a pipe and a terminal can be opened a
// second time. If the second open fails (no /proc, another user's file, no reader left), the request uses the first
// description.
void poller::reopen_without_sleeping(const request& asked) noexcept {
  const int number = pins_.number(asked.by_threads.pinned);
  if (number < 0) return;
  std::array<char, 40> path{};
  std::snprintf(path.data(), path.size(), "/proc/thread-self/fd/%d", number);
  const int mode = is_read(asked.iocb) ? O_RDONLY : O_WRONLY;
  const int again = raw::open(path.data(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (again >= 0) pins_.replace(asked.by_threads.pinned, again);
}

// Requests that are ready together are tried in the order in which they were submitted.
void poller::poll_once(int milliseconds) noexcept {
  std::array<epoll_event, 64> ready;
  const int count = raw::wait_in_epoll(epoll_, ready.data(), static_cast<int>(ready.size()), milliseconds);
  const auto some = std::span{ready}.first(static_cast<std::size_t>(std::max(count, 0)));
  std::ranges::sort(some, {}, [](const auto& each) { return each.data.u64; });
  if (!some.empty() && some.front().data.u64 == of_wakeup) wakeup_.clear();
  arm_new();
  for (const auto& each : some)
    if (const auto found = take(each.data.u64); found.what != nullptr) found.whose->ready(*found.what, each.events);
}

}  // namespace doorbell::aio
