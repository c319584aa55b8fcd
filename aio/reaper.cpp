// SPDX-License-Identifier: Apache-2.0
#include "reaper.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <new>
#include <span>
#include <thread>
#include <tuple>

#include "background_thread.hpp"
#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

constexpr std::chrono::milliseconds notice_loss_within{1000};
constexpr std::chrono::milliseconds look_every{5};

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

}  // namespace

reaper& reaper::process() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory for the reaper the program ends
  static reaper& one = *new reaper;
  return one;
}

void reaper::watch(kioctx& ctx, std::error_code& ec) noexcept {
  const base::mutex_lock held{lock_};
  if (!has_thread_) start_locked(ec);
  if (ec) return;
  for (const auto& [key, known] : contexts_)
    if (known.ctx == &ctx) return;
  const int descriptor = ctx.descriptor();
  if (descriptor < 0 && !ctx.must_be_looked_at()) {
    ec = std::make_error_code(std::errc::too_many_files_open);
    return;
  }
  const auto key = ++last_key_;
  try {
    contexts_.emplace(key, watched{.ctx = &ctx, .descriptor = descriptor});
  } catch (const std::bad_alloc&) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return;
  }
  // Without an epoll, restore_epoll() adds it.
  if (descriptor < 0 || !epoll_.is_ours() || add_to_epoll_locked(key, contexts_.at(key))) return;
  ec = last_error();
  contexts_.erase(key);
}

bool reaper::add_to_epoll_locked(std::uint64_t key, watched& entry) noexcept {
  epoll_event edge{};
  edge.events = EPOLLIN | EPOLLET;  // each completion is an edge, and reap_all() goes on until there is none
  edge.data.u64 = key;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, entry.descriptor, &edge) == 0;
}

void reaper::start_locked(std::error_code& ec) noexcept {
  base::private_fd made{base::unique_fd{::epoll_create1(EPOLL_CLOEXEC)}};
  if (!made) {
    ec = last_error();
    return;
  }
  const auto body = [](void* self) noexcept { static_cast<reaper*>(self)->run(); };
  epoll_ = std::move(made);
  ec = start_background_thread("doorbell-reaper", body, this);
  has_thread_ = !ec;
  if (ec) epoll_.reset();
}

void reaper::forget(kioctx& ctx) noexcept {
  const base::mutex_lock held{lock_};
  for (auto at = contexts_.begin(); at != contexts_.end(); ++at) {
    if (at->second.ctx != &ctx) continue;
    if (at->second.descriptor >= 0 && epoll_.is_ours())
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, at->second.descriptor, nullptr);
    contexts_.erase(at);
    return;
  }
}

// Without memory or descriptors for it, what is left waits for the next signal.
void reaper::add_when_there_is_room(const foreign_bell_ptr& bell) noexcept {
  const base::mutex_lock held{lock_};
  std::error_code ec;
  if (!has_thread_) start_locked(ec);
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
  if (!epoll_.is_ours() || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, bell->descriptor(), &room) != 0) full_.erase(key);
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
    if (epoll_.is_ours()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, bell->descriptor(), nullptr);
  }
  if (bell->is_full()) add_when_there_is_room(bell);
}

kioctx_user reaper::enter(std::uint64_t key) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = contexts_.find(key);
  const bool live = at != contexts_.end() && at->second.ctx->users().tryget_live();
  return kioctx_user{live ? at->second.ctx : nullptr};
}

void reaper::forget_all() noexcept {
  const base::mutex_lock held{lock_};
  contexts_ = {};
  // The parent's threads may have been at these.
  for (auto& [key, bell] : full_) std::ignore = bell.detach();
  full_ = {};
  epoll_.reset();
  has_thread_ = false;
}

int reaper::epoll() noexcept {
  const base::mutex_lock held{lock_};
  return epoll_.get();
}

// Without the lock: the caller is the reaper's thread, the only one that changes it.
bool reaper::has_lost_epoll() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS { return !epoll_.is_ours(); }

// Completions and room that the old epoll would have told of are found by the new one: adding a descriptor that is ready is
// an edge.
void reaper::restore_epoll() noexcept {
  decltype(full_) lost;  // ends after the lock is released, because the end of a bell takes an eventfd's lock
  const base::mutex_lock held{lock_};
  epoll_ = base::private_fd{base::unique_fd{::epoll_create1(EPOLL_CLOEXEC)}};
  if (!epoll_) return;
  for (auto& [key, entry] : contexts_) {
    entry.descriptor = entry.ctx->descriptor();
    if (entry.descriptor >= 0 && !add_to_epoll_locked(key, entry)) entry.descriptor = -1;
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

// Contexts whose completions no descriptor announces.
void reaper::look_at_unannounced() noexcept {
  std::uint64_t last = 0;
  is_looking_ = false;
  for (;;) {
    {
      const base::mutex_lock held{lock_};
      const auto next = std::find_if(contexts_.upper_bound(last), contexts_.end(), [](const auto& entry) {
        return entry.second.descriptor < 0 || entry.second.ctx->must_be_looked_at();
      });
      if (next == contexts_.end()) return;
      last = next->first;
    }
    is_looking_ = true;
    if (const auto ctx = enter(last)) ctx->reap_for_others();
  }
}

void reaper::run() noexcept {
  int epoll = this->epoll();
  std::array<epoll_event, 64> ready;
  for (;;) {
    if (has_lost_epoll()) {
      restore_epoll();
      epoll = this->epoll();
      if (epoll < 0) std::this_thread::sleep_for(look_every);
      is_looking_ = true;
    }
    const auto timeout = is_looking_ ? look_every : notice_loss_within;
    const int count =
        ::epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), static_cast<int>(timeout.count()));
    if (count <= 0 || is_looking_) look_at_unannounced();
    for (const auto& each : std::span{ready}.first(static_cast<std::size_t>(std::max(count, 0)))) {
      if (const auto ctx = enter(each.data.u64)) ctx->reap_for_others();
      if (const auto bell = full(each.data.u64)) add_what_fits(each.data.u64, bell);
    }
  }
}

}  // namespace doorbell::aio
