// SPDX-License-Identifier: Apache-2.0
#include "reaper.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <span>
#include <tuple>

#include "background_thread.hpp"
#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

}  // namespace

reaper& reaper::process() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory for the reaper the program ends
  static reaper& one = *new reaper;
  return one;
}

void reaper::watch(kioctx& ctx, std::error_code& ec) noexcept {
  const base::mutex_lock held{lock_};
  if (!epoll_) start_locked(ec);
  if (ec) return;
  for (const auto& [key, known] : contexts_)
    if (known == &ctx) return;
  const int descriptor = ctx.descriptor();
  if (descriptor < 0) {
    ec = std::make_error_code(std::errc::too_many_files_open);
    return;
  }
  const auto key = ++last_key_;
  try {
    contexts_.emplace(key, &ctx);
  } catch (const std::bad_alloc&) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return;
  }
  epoll_event edge{};
  edge.events = EPOLLIN | EPOLLET;  // each completion is an edge, and reap_all() goes on until there is none
  edge.data.u64 = key;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &edge) == 0) return;
  ec = last_error();
  contexts_.erase(key);
}

void reaper::start_locked(std::error_code& ec) noexcept {
  base::unique_fd made{::epoll_create1(EPOLL_CLOEXEC)};
  if (!made) {
    ec = last_error();
    return;
  }
  const auto body = [](void* self) noexcept { static_cast<reaper*>(self)->run(); };
  epoll_ = std::move(made);
  ec = start_background_thread("doorbell-reaper", body, this);
  if (ec) epoll_.reset();
}

void reaper::forget(kioctx& ctx) noexcept {
  const base::mutex_lock held{lock_};
  erase_if(contexts_, [&](const auto& entry) { return entry.second == &ctx; });
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, ctx.descriptor(), nullptr);
}

// Without memory or descriptors for it, what is left waits for the next signal.
void reaper::add_when_there_is_room(const foreign_bell_ptr& bell) noexcept {
  const base::mutex_lock held{lock_};
  std::error_code ec;
  if (!epoll_) start_locked(ec);
  if (ec || find_full_locked(bell)) return;
  const auto key = ++last_key_;
  try {
    full_.emplace(key, bell);
  } catch (const std::bad_alloc&) {
    return;
  }
  epoll_event room{};
  room.events = EPOLLOUT | EPOLLET;  // there may be some already; each read by the program is an edge
  room.data.u64 = key;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, bell->descriptor(), &room) != 0) full_.erase(key);
}

bool reaper::find_full_locked(const foreign_bell_ptr& bell) const noexcept {
  return std::ranges::any_of(full_, [&](const auto& entry) { return entry.second == bell; });
}

foreign_bell_ptr reaper::full(std::uint64_t key) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = full_.find(key);
  return at == full_.end() ? nullptr : at->second;
}

//   reaper                               whoever rings
//   is_full(): no                        signals: it is full again
//   lock; off the list; unlock           finds it on the list, or adds it
//   is_full(): yes -> adds it
//
//   forbidden: full, and not on the list. Whoever found it on the list had signalled before it was taken off.
void reaper::add_what_fits(std::uint64_t key, const foreign_bell_ptr& bell) noexcept {
  bell->try_again();
  if (bell->is_full()) return;
  {
    const base::mutex_lock held{lock_};
    full_.erase(key);
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, bell->descriptor(), nullptr);
  }
  if (bell->is_full()) add_when_there_is_room(bell);
}

kioctx_user reaper::enter(std::uint64_t key) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = contexts_.find(key);
  const bool live = at != contexts_.end() && at->second->users().tryget_live();
  return kioctx_user{live ? at->second : nullptr};
}

void reaper::forget_all() noexcept {
  const base::mutex_lock held{lock_};
  contexts_ = {};
  // The parent's threads may have been at these.
  for (auto& [key, bell] : full_) std::ignore = bell.detach();
  full_ = {};
  epoll_.reset();
}

// The descriptor is there before the thread is, and stays.
int reaper::epoll() noexcept {
  const base::mutex_lock held{lock_};
  return epoll_.get();
}

void reaper::run() noexcept {
  const int epoll = this->epoll();
  std::array<epoll_event, 64> ready;
  for (;;) {
    const int count = ::epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), -1);
    for (const auto& each : std::span{ready}.first(static_cast<std::size_t>(std::max(count, 0)))) {
      if (const auto ctx = enter(each.data.u64)) ctx->reap_for_others();
      if (const auto bell = full(each.data.u64)) add_what_fits(each.data.u64, bell);
    }
  }
}

}  // namespace doorbell::aio
