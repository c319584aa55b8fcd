// SPDX-License-Identifier: Apache-2.0
#include "reaper.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <new>
#include <span>
#include <tuple>

#include <doorbell/base/background_thread.hpp>
#include <doorbell/base/futex.hpp>

#include "../system/reaper_thread.hpp"

namespace doorbell::aio {
namespace {

constexpr std::chrono::milliseconds notice_loss_within{1000};
constexpr std::chrono::milliseconds look_every{5};
constexpr int most_wakeups_without_look = 1000;  // limits the delay if the epoll always has events
constexpr std::array no_descriptors{-1, -1};

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

}  // namespace

reaper& reaper::process() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory for the reaper the program ends
  static reaper& one = *new reaper;
  return one;
}

void reaper::watch(reaped_context& ctx, std::error_code& ec) noexcept {
  eventfds_by_key lost;  // destroyed after the lock is released
  const base::mutex_lock held{lock_};
  if (!has_thread_) start_locked(ec);
  if (ec) return;
  if (!epoll_.is_ours()) restore_epoll_locked(lost);
  auto at = find_locked(ctx);
  const bool is_new = at == contexts_.end();
  if (!is_new && !at->second.is_in_rounds) return;
  const auto descriptors = ctx.descriptors();
  if (descriptors[0] < 0 && !ctx.must_be_looked_at()) {
    ec = std::make_error_code(std::errc::too_many_files_open);
    return;
  }
  if (is_new) at = add_locked(ctx, ec);
  if (ec) return;
  auto& entry = at->second;
  entry.descriptors = descriptors;
  // If there is no epoll, the reaper finds the context's completions by looking at it.
  if (!epoll_.is_ours() || add_to_epoll_locked(at->first, entry)) {
    entry.is_in_rounds = false;
    return;
  }
  ec = last_error();
  take_off_epoll_locked(entry);
  entry.descriptors = no_descriptors;
  if (is_new) contexts_.erase(at);
}

void reaper::visit_in_rounds(reaped_context& ctx, std::error_code& ec) noexcept {
  const base::mutex_lock held{lock_};
  if (!has_thread_) start_if_due_locked(ec);
  if (ec) return;
  auto at = find_locked(ctx);
  if (at == contexts_.end()) at = add_locked(ctx, ec);
  if (ec) return;
  take_off_epoll_locked(at->second);
  at->second.descriptors = no_descriptors;
  at->second.is_in_rounds = true;
  has_rounds_.store(true, base::memory_order_relaxed);
}

reaper::contexts_by_key::iterator reaper::find_locked(const reaped_context& ctx) noexcept {
  return std::ranges::find_if(contexts_, [&](const auto& entry) { return entry.second.ctx == &ctx; });
}

// Adds the context without descriptors. Errors: not_enough_memory.
reaper::contexts_by_key::iterator reaper::add_locked(reaped_context& ctx, std::error_code& ec) noexcept {
  try {
    return contexts_.emplace(++last_key_, watched{.ctx = &ctx, .descriptors = no_descriptors}).first;
  } catch (const std::bad_alloc&) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return contexts_.end();
  }
}

bool reaper::add_to_epoll_locked(std::uint64_t key, const watched& entry) noexcept {
  epoll_event edge{};
  edge.events = EPOLLIN | EPOLLET;  // each completion is an edge, and reap_for_others() takes all that are there
  edge.data.u64 = key;
  for (const int each : entry.descriptors)
    if (each >= 0 && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, each, &edge) != 0) return false;
  return true;
}

void reaper::take_off_epoll_locked(const watched& entry) noexcept {
  if (!epoll_.is_ours()) return;
  for (const int each : entry.descriptors)
    if (each >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, each, nullptr);
}

void reaper::start_locked(std::error_code& ec) noexcept {
  base::private_fd made{base::unique_fd{::epoll_create1(EPOLL_CLOEXEC)}};
  if (!made) {
    ec = last_error();
    return;
  }
  const auto body = [](void* self) noexcept { static_cast<reaper*>(self)->run(); };
  epoll_ = std::move(made);
  ec = base::start_background_thread("doorbell-reaper", body, this);
  has_thread_ = !ec;
  if (ec) epoll_.reset();
}

// Every submit of a program may need the thread; where no thread can be started, each attempt takes long.
void reaper::start_if_due_locked(std::error_code& ec) noexcept {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_start_) {
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return;
  }
  start_locked(ec);
  if (ec) next_start_ = now + notice_loss_within;
}

void reaper::forget(reaped_context& ctx) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = find_locked(ctx);
  if (at == contexts_.end()) return;
  take_off_epoll_locked(at->second);
  contexts_.erase(at);
}

// If there is no memory for the entry, or the epoll cannot take it, the remaining count waits for the next signal. If
// there is no epoll, the reaper retries by looking at the eventfd.
void reaper::add_when_there_is_room(const resfd_target_ptr& efd) noexcept {
  const base::mutex_lock held{lock_};
  std::error_code ec;
  if (!has_thread_) start_locked(ec);
  if (ec || find_full_locked(efd)) return;
  const auto key = ++last_key_;
  try {
    full_.emplace(key, efd);
  } catch (const std::bad_alloc&) {
    return;
  }
  epoll_event room{};
  room.events = EPOLLOUT | EPOLLET;  // there may be room already; each read by the program is an edge
  room.data.u64 = key;
  if (epoll_.is_ours() && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, efd->descriptor(), &room) != 0) full_.erase(key);
}

bool reaper::find_full_locked(const resfd_target_ptr& efd) const noexcept {
  return std::ranges::any_of(full_, [&](const auto& entry) { return entry.second == efd; });
}

resfd_target_ptr reaper::full(std::uint64_t key) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = full_.find(key);
  return at == full_.end() ? nullptr : at->second;
}

//   reaper                               a thread that signals
//   is_full(): no                        signals: the eventfd is full again
//   lock; off the list; unlock           finds it on the list, or adds it
//   is_full(): yes -> adds it
//
//   forbidden: full, and not on the list. A thread that found it on the list had signalled before it was removed.
void reaper::add_what_fits(std::uint64_t key, const resfd_target_ptr& efd) noexcept {
  efd->try_again();
  // equivalent fault (dropped): the last line adds it to the list again
  if (efd->is_full()) return;
  {
    const base::mutex_lock held{lock_};
    full_.erase(key);
    if (epoll_.is_ours()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, efd->descriptor(), nullptr);
  }
  if (efd->is_full()) add_when_there_is_room(efd);
}

reaped_context_user reaper::enter(std::uint64_t key) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = contexts_.find(key);
  const bool live = at != contexts_.end() && at->second.ctx->try_enter();
  return reaped_context_user{live ? at->second.ctx : nullptr};
}

void reaper::forget_all() noexcept {
  const base::mutex_lock held{lock_};
  contexts_ = {};
  // The parent's threads may have been using these.
  for (auto& [key, efd] : full_) std::ignore = efd.detach();
  full_ = {};
  epoll_.reset();
  has_thread_ = false;
  needs_epoll_.store(0, base::memory_order_relaxed);
  has_rounds_.store(false, base::memory_order_relaxed);
  next_start_ = {};
  next_round_ = {};
}

// @return -1 if the program has closed the epoll.
int reaper::epoll() noexcept {
  const base::mutex_lock held{lock_};
  return epoll_.is_ours() ? epoll_.get() : -1;
}

// Until there is an epoll again, looks at everything that the epoll would have announced.
int reaper::wait_for_epoll() noexcept {
  for (;;) {
    if (const int epoll = this->epoll(); epoll >= 0) return epoll;
    needs_epoll_.store(1, base::memory_order_seq_cst);
    std::ignore = make_round_if_due(false);
    const bool has_requests = look_at([](const watched& each) {
      return each.is_in_rounds ? each.ctx->has_requests_of_ring_reader() : each.ctx->has_requests();
    });
    const bool has_full = look_at_full();
    const auto next_look =
        std::chrono::steady_clock::now() + (has_requests || has_full ? look_every : notice_loss_within);
    std::ignore = base::futex_wait(needs_epoll_, 1, next_look);
    end_process_without_threads();
  }
}

void reaper::restore_epoll() noexcept {
  eventfds_by_key lost;  // destroyed after the lock is released
  const base::mutex_lock held{lock_};
  if (!epoll_.is_ours()) restore_epoll_locked(lost);
}

// The new epoll reports completions and room that the old one would have reported: adding a descriptor that is ready is
// an edge.
// @param[out] lost eventfds that the new epoll cannot take. The caller destroys them after it has released the lock,
// because their destruction acquires an eventfd's lock.
void reaper::restore_epoll_locked(eventfds_by_key& lost) noexcept {
  epoll_ = base::private_fd{base::unique_fd{::epoll_create1(EPOLL_CLOEXEC)}};
  if (!epoll_) return;
  needs_epoll_.store(0, base::memory_order_seq_cst);
  base::futex_wake_all(&needs_epoll_);
  for (auto& [key, entry] : contexts_) {
    if (entry.is_in_rounds) continue;
    entry.descriptors = entry.ctx->descriptors();
    if (add_to_epoll_locked(key, entry)) continue;
    take_off_epoll_locked(entry);
    entry.descriptors = no_descriptors;
  }
  for (auto at = full_.begin(); at != full_.end();) {
    const auto each = at++;
    epoll_event room{};
    room.events = EPOLLOUT | EPOLLET;
    room.data.u64 = each->first;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, each->second->descriptor(), &room) != 0)
      lost.insert(full_.extract(each));
  }
}

// Enters each context that `which` chooses, and calls `what` for it. @return whether `which` has chosen any.
template <class Which, class What>
bool reaper::visit(Which which, What what) noexcept {
  bool has_some = false;
  for (std::uint64_t last = 0;;) {
    {
      const base::mutex_lock held{lock_};
      const auto next = std::find_if(contexts_.upper_bound(last), contexts_.end(),
                                     [&](const auto& entry) { return which(entry.second); });
      if (next == contexts_.end()) return has_some;
      last = next->first;
    }
    has_some = true;
    if (const auto ctx = enter(last)) what(*ctx);
  }
}

// Completes what is ready in the contexts that `which` chooses.
template <class Which>
bool reaper::look_at(Which which) noexcept {
  return visit(which, [](reaped_context& ctx) { ctx.reap_for_others(); });
}

// Completes requests of contexts whose completions no descriptor announces.
bool reaper::poll_unnotified() noexcept {
  return look_at([](const watched& each) {
    return each.is_in_rounds ? each.ctx->has_requests_of_ring_reader()
                             : each.descriptors[0] < 0 || each.ctx->must_be_looked_at();
  });
}

// @param has_slept_through whether the thread has slept for a whole round since its last call of this function.
// @return whether a round was due.
bool reaper::make_round_if_due(bool has_slept_through) noexcept {
  if (!has_rounds_.load(base::memory_order_relaxed)) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!has_slept_through && now < next_round_) return false;
  next_round_ = now + notice_loss_within;
  const auto is_in_rounds = [](const watched& each) { return each.is_in_rounds; };
  {
    const base::mutex_lock held{lock_};
    // equivalent fault (call): a round visits only the contexts that are in rounds
    has_rounds_.store(std::ranges::any_of(contexts_, [&](const auto& entry) { return is_in_rounds(entry.second); }),
                      base::memory_order_relaxed);
  }
  visit(is_in_rounds, [](reaped_context& ctx) { ctx.on_round(); });
  return true;
}

// If an eventfd is immediately full again, it gets a new key, and waits for the next look.
// @return whether some eventfds have no room yet.
bool reaper::look_at_full() noexcept {
  std::uint64_t newest = 0;
  {
    const base::mutex_lock held{lock_};
    newest = last_key_;
  }
  for (std::uint64_t last = 0;;) {
    resfd_target_ptr efd;
    {
      const base::mutex_lock held{lock_};
      const auto next = full_.upper_bound(last);
      if (next == full_.end() || next->first > newest) return !full_.empty();
      last = next->first;
      efd = next->second;
    }
    add_what_fits(last, efd);
  }
}

// Ends the process as glibc does when its last thread ends. Runs exit(3) in another thread, because the functions of
// atexit(3) may need the reaper's thread.
void reaper::end_process_without_threads() noexcept {
  static bool has_begun = false;
  if (has_begun || !base::only_background_threads_are_left()) return;
  const auto end = [](void*) noexcept {
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    std::exit(EXIT_SUCCESS);
  };
  has_begun = !base::start_background_thread("doorbell-exit", end, nullptr);
}

void reaper::run() noexcept {
  reaper_thread::note_this_thread();
  std::array<epoll_event, 64> ready;
  bool is_looking = false;  // there are contexts whose completions no descriptor announces
  int wakeups = 0;          // since the last look at them
  for (;;) {
    int epoll = this->epoll();
    if (epoll < 0) {
      epoll = wait_for_epoll();
      is_looking = true;
    }
    const auto timeout = is_looking ? look_every : notice_loss_within;
    const int count =
        ::epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), static_cast<int>(timeout.count()));
    const bool has_made_round = make_round_if_due(count == 0 && !is_looking);
    if (count <= 0 || is_looking || has_made_round || ++wakeups > most_wakeups_without_look) {
      is_looking = poll_unnotified();
      wakeups = 0;
    }
    if (count == 0) end_process_without_threads();
    for (const auto& each : std::span{ready}.first(static_cast<std::size_t>(std::max(count, 0)))) {
      if (const auto ctx = enter(each.data.u64)) ctx->reap_for_others();
      if (const auto efd = full(each.data.u64)) add_what_fits(each.data.u64, efd);
    }
  }
}

}  // namespace doorbell::aio
