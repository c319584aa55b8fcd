// SPDX-License-Identifier: Apache-2.0
#include "engine_failover.hpp"

#include <algorithm>
#include <chrono>

namespace doorbell::aio {
namespace {

constexpr std::chrono::milliseconds look_into_ring_every{1};

}  // namespace

std::string_view engine_failover::name() const noexcept {
  const auto* const others = threads();
  return others != nullptr ? others->name() : ring_->name();
}

// @return null: there is no memory for it.
engine_threads* engine_failover::stand_in() noexcept {
  const base::mutex_lock held{lock_};
  if (made_ == nullptr) {
    std::error_code ec;
    made_ = engine_threads::make(ec);
    threads_.store(made_.get(), base::memory_order_release);
  }
  return made_.get();
}

std::size_t engine_failover::start(std::span<request* const> requests) noexcept {
  const auto by_ring = threads() == nullptr ? ring_->start(requests) : 0;
  if (by_ring == requests.size() || ring_->works()) return by_ring;
  const auto rest = requests.subspan(by_ring);
  auto* const others = stand_in();
  if (others == nullptr) return by_ring;
  for (auto* each : rest) each->is_with_threads.store(true, base::memory_order_relaxed);
  return by_ring + others->start(rest);
}

engine::cancel_result engine_failover::cancel(request& started) noexcept {
  if (started.is_with_threads.load(base::memory_order_relaxed)) return threads()->cancel(started);
  return ring_->cancel(started);
}

std::size_t engine_failover::reap(std::span<completion> completions) noexcept {
  const auto from_ring = ring_->reap(completions);
  auto* const others = threads();
  if (others == nullptr || from_ring == completions.size()) return from_ring;
  return from_ring + others->reap(completions.subspan(from_ring));
}

engine::wait_result engine_failover::wait(base::deadline until) noexcept {
  auto* const others = threads();
  if (others == nullptr) return ring_->wait(until);
  if (!ring_->has_requests()) return others->wait(until);
  const auto next_look = std::chrono::steady_clock::now() + look_into_ring_every;
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
  return others != nullptr ? others->descriptor() : ring_->descriptor();
}

}  // namespace doorbell::aio
