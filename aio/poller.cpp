// SPDX-License-Identifier: Apache-2.0
#include "poller.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <new>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "background_thread.hpp"

namespace doorbell::aio {
namespace {

constexpr int notice_loss_within_ms = 1000;
constexpr std::chrono::milliseconds retry_every{5};

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

}  // namespace

std::error_code poller::add(client& whose, request& held, unsigned events, base::private_fd watched) noexcept {
  const base::mutex_lock locked{lock_};
  if (!has_thread_)
    if (const auto error = start_locked()) return error;
  const auto watch = ++last_watch_;
  try {
    waiting_.emplace(watch, waiting{&whose, &held, events});
  } catch (const std::bad_alloc&) {
    return std::make_error_code(std::errc::not_enough_memory);
  }
  held.by_threads.watch = watch;
  held.by_threads.watched = std::move(watched);
  const auto error = arm_locked(EPOLL_CTL_ADD, held, events);
  if (error) forget_locked(held);
  return error;
}

std::error_code poller::add_again(request& held, unsigned events) noexcept {
  const base::mutex_lock locked{lock_};
  return arm_locked(EPOLL_CTL_MOD, held, events);
}

// The poller's thread cannot take it before it is put back, since it needs the lock for that; and a cancel that takes it
// right after needs the lock to go on.
std::error_code poller::arm_locked(int operation, request& held, unsigned events) noexcept {
  auto& note = held.by_threads;
  epoll_event event{};
  event.events = events | EPOLLONESHOT;
  event.data.u64 = note.watch;
  // An epoll that the program has closed: restore_epoll() adds what is pending then.
  if (epoll_.is_ours() && ::epoll_ctl(epoll_.get(), operation, note.watched.get(), &event) != 0 &&
      (errno != ENOENT || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, note.watched.get(), &event) != 0))
    return last_error();
  note.put_back();
  const bool was_cancelled = held.cancelled.load(base::memory_order_seq_cst) && note.take();
  return was_cancelled ? std::make_error_code(std::errc::operation_canceled) : std::error_code{};
}

void poller::remove(request& held) noexcept {
  const base::mutex_lock locked{lock_};
  forget_locked(held);
}

// Taken off the epoll by hand: it would go by itself only with the last descriptor of the file, and the program has others.
void poller::forget_locked(request& held) noexcept {
  auto& note = held.by_threads;
  if (epoll_.is_ours() && note.watched.is_ours()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, note.watched.get(), nullptr);
  waiting_.erase(std::exchange(note.watch, 0));
  note.watched.reset();
}

std::error_code poller::start_locked() noexcept {
  epoll_ = base::private_fd{base::unique_fd{::epoll_create1(EPOLL_CLOEXEC)}};
  if (!epoll_) return last_error();
  const auto body = [](void* self) noexcept { static_cast<poller*>(self)->run(); };
  const auto error = start_background_thread("doorbell-poller", body, this);
  has_thread_ = !error;
  if (error) epoll_.reset();
  return error;
}

int poller::epoll() noexcept {
  const base::mutex_lock locked{lock_};
  return epoll_.get();
}

poller::waiting poller::take(std::uint64_t watch) noexcept {
  const base::mutex_lock locked{lock_};
  const auto at = waiting_.find(watch);
  const bool taken = at != waiting_.end() && at->second.what->by_threads.take();
  return taken ? at->second : waiting{};
}

// Without the lock: the caller is the poller's thread, the only one that changes it.
bool poller::has_lost_epoll() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS { return !epoll_.is_ours(); }

// The program has closed the descriptor of the epoll, and perhaps those of the files that requests wait for. A request
// whose file is lost is reported as ready, and then finds that it has no descriptor.
void poller::restore_epoll() noexcept {
  std::vector<std::uint64_t> lost;
  {
    const base::mutex_lock locked{lock_};
    epoll_ = base::private_fd{base::unique_fd{::epoll_create1(EPOLL_CLOEXEC)}};
    if (!epoll_) return;
    for (const auto& [watch, each] : waiting_) {
      const auto& note = each.what->by_threads;
      epoll_event event{};
      event.events = each.events | EPOLLONESHOT;
      event.data.u64 = watch;
      if (note.watched.is_ours() && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, note.watched.get(), &event) == 0) continue;
      try {
        lost.push_back(watch);
      } catch (const std::bad_alloc&) {
        break;  // the others wait until they are cancelled
      }
    }
  }
  for (const auto watch : lost)
    if (const auto found = take(watch); found.what != nullptr) found.whose->ready(*found.what, EPOLLERR);
}

// Requests that are ready together are tried in the order in which they were submitted. The thread cannot notice a lost
// epoll while it sleeps, so it sleeps for a second at most.
void poller::run() noexcept {
  int epoll = this->epoll();
  std::array<epoll_event, 64> ready;
  for (;;) {
    if (has_lost_epoll()) {
      restore_epoll();
      epoll = this->epoll();
      if (epoll < 0) std::this_thread::sleep_for(retry_every);
    }
    const int count = ::epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), notice_loss_within_ms);
    const auto some = std::span{ready}.first(static_cast<std::size_t>(std::max(count, 0)));
    std::ranges::sort(some, {}, [](const auto& each) { return each.data.u64; });
    for (const auto& each : some)
      if (const auto found = take(each.data.u64); found.what != nullptr) found.whose->ready(*found.what, each.events);
  }
}

// Descriptors are the process's, so ours are closed. The epoll itself is shared with the parent: nothing is taken off it.
void poller::after_fork_in_child() noexcept {
  for (auto& [watch, each] : waiting_) each.what->by_threads.watched.reset();
  epoll_.reset();
  lock_.unlock();
}

}  // namespace doorbell::aio
