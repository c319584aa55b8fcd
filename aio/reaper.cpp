// SPDX-License-Identifier: Apache-2.0
#include "reaper.hpp"

#include <pthread.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <new>
#include <span>
#include <system_error>
#include <thread>

#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

/// Signals are the program's threads' to handle: a thread started in this scope has them all blocked.
class all_signals_blocked {
 public:
  all_signals_blocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~all_signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  all_signals_blocked(const all_signals_blocked&) = delete;
  all_signals_blocked& operator=(const all_signals_blocked&) = delete;

 private:
  sigset_t before_{};
};

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

}  // namespace

reaper& reaper::process() noexcept {
  static reaper& one = *new reaper;
  return one;
}

void reaper::watch(kioctx& ctx, std::error_code& ec) noexcept {
  const base::mutex_lock held{lock_};
  if (!epoll_) start_locked(ec);
  if (ec) return;
  for (const auto& [key, known] : contexts_)
    if (known == &ctx) return;
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
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, ctx.descriptor(), &edge) == 0) return;
  ec = last_error();
  contexts_.erase(key);
}

void reaper::start_locked(std::error_code& ec) noexcept {
  base::unique_fd made{::epoll_create1(EPOLL_CLOEXEC)};
  if (!made) {
    ec = last_error();
    return;
  }
  try {
    const all_signals_blocked here;
    std::thread{[this, epoll = made.get()] { run(epoll); }}.detach();
    epoll_ = std::move(made);
  } catch (const std::system_error& failed) {
    ec = failed.code();
  }
}

void reaper::forget(kioctx& ctx) noexcept {
  const base::mutex_lock held{lock_};
  absl::erase_if(contexts_, [&](const auto& entry) { return entry.second == &ctx; });
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, ctx.descriptor(), nullptr);
}

kioctx_user reaper::enter(std::uint64_t key) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = contexts_.find(key);
  const bool live = at != contexts_.end() && at->second->users().tryget_live();
  return kioctx_user{live ? at->second : nullptr};
}

void reaper::forget_all() noexcept {
  const base::mutex_lock held{lock_};
  contexts_.clear();
  epoll_.reset();
}

void reaper::run(int epoll) noexcept {
  pthread_setname_np(pthread_self(), "doorbell-reaper");
  std::array<epoll_event, 64> ready;
  for (;;) {
    const int count = ::epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), -1);
    for (const auto& each : std::span{ready}.first(static_cast<std::size_t>(std::max(count, 0)))) {
      if (const auto ctx = enter(each.data.u64)) ctx->reap_all();
    }
  }
}

}  // namespace doorbell::aio
