// SPDX-License-Identifier: Apache-2.0
#include "engine_failover.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <tuple>

#include <doorbell/base/intrusive_ptr.hpp>

#include "operation.hpp"

namespace doorbell::aio {
namespace {

constexpr std::chrono::milliseconds look_every{1};

bool is_for_ring(const request& asked) noexcept {
  return asked.ends_by_itself && is_transfer(asked.what) && (asked.is_direct || is_read(asked.what));
}

bool still_names_its_file(const request& asked) noexcept {
  struct stat status{};
  return ::fstat(asked.what.fildes, &status) == 0 && status.st_dev == asked.device && status.st_ino == asked.inode;
}

}  // namespace

std::string_view engine_failover::name() const noexcept {
  const auto* const others = threads();
  return others != nullptr && !ring_->works() ? others->name() : ring_->name();
}

// @return null: there is no memory for it.
engine_threads* engine_failover::stand_in() noexcept {
  if (auto* const others = threads()) return others;
  const base::mutex_lock held{lock_};
  if (made_ == nullptr) {
    std::error_code ec;
    made_ = engine_threads::make(ec);
    threads_.store(made_.get(), base::memory_order_release);
  }
  return made_.get();
}

std::size_t engine_failover::start(std::span<request* const> requests) noexcept {
  std::size_t started = 0;
  while (started < requests.size()) {
    const auto rest = requests.subspan(started);
    const bool by_ring = ring_->works() && is_for_ring(*rest.front());
    const auto end = std::ranges::find_if(rest, [&](const auto* each) { return is_for_ring(*each) != by_ring; });
    const auto some = ring_->works() ? rest.first(static_cast<std::size_t>(end - rest.begin())) : rest;
    const auto taken = by_ring ? ring_->start(some) : start_by_crew(some);
    started += taken;
    const bool has_lost_ring = by_ring && !ring_->works();
    if (taken == some.size() || has_lost_ring) continue;
    if (by_ring || !start_by_ring_instead(*some[taken])) break;
    ++started;
  }
  return started;
}

// A request that waits, and that the crew cannot take: no thread or memory can be had, or the file cannot be sent to it (a
// ring). Requests for files the crew always takes.
bool engine_failover::start_by_ring_instead(request& refused) noexcept {
  if (refused.ends_by_itself || !ring_->works()) return false;
  refused.is_with_threads.store(false, base::memory_order_relaxed);
  request* const one = &refused;
  return ring_->start({&one, 1}) == 1;
}

std::size_t engine_failover::start_by_crew(std::span<request* const> requests) noexcept {
  auto* const others = stand_in();
  if (others == nullptr) return 0;
  for (auto* each : requests) each->is_with_threads.store(true, base::memory_order_relaxed);
  const auto started = others->start(requests);
  if (started > 0) watch_crew();
  return started;
}

// In vain if the ring takes no entry now, or has failed; then must_be_looked_at().
void engine_failover::watch_crew() noexcept {
  const auto* const others = threads();
  if (others == nullptr || ring_->is_watching() || !ring_->works()) return;
  if (const int news = others->descriptor(); news >= 0) std::ignore = ring_->watch(news);
}

engine::cancel_result engine_failover::cancel(request& started) noexcept {
  if (started.is_with_threads.load(base::memory_order_relaxed)) return threads()->cancel(started);
  return ring_->cancel(started);
}

std::size_t engine_failover::reap(std::span<completion> completions) noexcept {
  std::size_t from_ring = 0;
  while (from_ring == 0) {
    const auto count = ring_->reap(completions);
    if (count == 0) break;
    from_ring = restart_orphans(completions.first(count));
  }
  auto* const others = threads();
  if (others == nullptr) return from_ring;
  watch_crew();
  return from_ring == completions.size() ? from_ring : from_ring + others->reap(completions.subspan(from_ring));
}

// Starts requests again that no thread has cancelled. They have transferred nothing yet, or their result would say how much.
// @return how many are left.
std::size_t engine_failover::restart_orphans(std::span<completion> from_ring) noexcept {
  const auto restarted = [this](const completion& each) {
    const bool has_ended = each.res == -ECANCELED || each.res == -EINTR;
    return has_ended && !each.done->cancelled.load(base::memory_order_seq_cst) && restart(*each.done);
  };
  const auto rest = std::remove_if(from_ring.begin(), from_ring.end(), restarted);
  return static_cast<std::size_t>(rest - from_ring.begin());
}

// A cancel() that came too late for the first start, and too early for this one, has set `cancelled` before it tried. Should
// the engine refuse now, destroy() asks again.
bool engine_failover::restart(request& orphan) noexcept {
  if (!still_names_its_file(orphan)) return false;
  const base::intrusive_ptr<request> held{&orphan};
  request* const again = &orphan;
  if (ring_->start({&again, 1}) == 0 && start_by_crew({&again, 1}) == 0) return false;
  if (orphan.cancelled.load(base::memory_order_seq_cst)) std::ignore = cancel(orphan);
  return true;
}

engine::file_io engine_failover::file_io_done() const noexcept {
  auto done = ring_->file_io_done();
  if (const auto* const others = threads()) done.carried_out += others->file_io_done().carried_out;
  return done;
}

engine::wait_result engine_failover::wait(base::deadline until) noexcept {
  auto* const others = threads();
  if (others == nullptr) return ring_->wait(until);
  if (others->has_completions()) return wait_result::ready;
  const bool ring_works = ring_->works();
  if (ring_works ? ring_->is_watching() : !ring_->has_requests())
    return ring_works ? ring_->wait(until) : others->wait(until);
  const auto next_look = std::chrono::steady_clock::now() + look_every;
  if (until && *until <= next_look) return others->wait(until);
  const auto result = others->wait(next_look);
  return result == wait_result::timed_out ? wait_result::ready : result;
}

// A sleeper may still be in the ring, which it entered before there were threads.
void engine_failover::wake() noexcept {
  if (auto* const others = threads()) others->wake();
  ring_->wake();
}

void engine_failover::abandon_in_child() noexcept {
  ring_->abandon_in_child();
  if (auto* const others = threads()) others->abandon_in_child();
}

int engine_failover::descriptor() const noexcept {
  const auto* const others = threads();
  return others != nullptr && !ring_->works() ? others->descriptor() : ring_->descriptor();
}

bool engine_failover::must_be_looked_at() const noexcept {
  const bool has_lost_ring = !ring_->works();
  if (has_lost_ring && ring_->has_requests()) return true;
  const auto* const others = threads();
  return others != nullptr && (others->must_be_looked_at() || (!has_lost_ring && !ring_->is_watching()));
}

}  // namespace doorbell::aio
