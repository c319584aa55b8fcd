// SPDX-License-Identifier: Apache-2.0
#include "getter_habit.hpp"

#include <sys/resource.h>

namespace doorbell::aio {
namespace {

constexpr std::uintptr_t sleeps_bits = 15;
static_assert(getter_habit::most_sleeps <= sleeps_bits);
static_assert(getter_habit::most_sleeps - getter_habit::lost_by_being_away + 1 == getter_habit::enough_sleeps);

/// Its address identifies the thread.
struct alignas(sleeps_bits + 1) name_of_thread {};
thread_local constinit name_of_thread here __attribute__((tls_model("initial-exec")));

std::uintptr_t this_thread() noexcept { return reinterpret_cast<std::uintptr_t>(&here); }

/// @return the number of sleeps of this thread, plus 1. 0: unknown.
std::uint64_t sleeps_of_this_thread() noexcept {
  rusage used{};
  return ::getrusage(RUSAGE_THREAD, &used) == 0 ? static_cast<std::uint64_t>(used.ru_nvcsw) + 1 : 0;
}

}  // namespace

void getter_habit::note_sleep() noexcept {
  const auto word = word_.load(base::memory_order_relaxed);
  if ((word & ~sleeps_bits) != this_thread()) {
    word_.store(this_thread() | 1, base::memory_order_relaxed);
    sleeps_before_.store(0, base::memory_order_relaxed);
    return;
  }
  sleeps_here_.store(sleeps_here_.load(base::memory_order_relaxed) + 1, base::memory_order_relaxed);
  if (looks_.load(base::memory_order_relaxed) != 0) looks_.store(0, base::memory_order_relaxed);
  add_one(word);
}

void getter_habit::note_look() noexcept {
  if (!is_of_this_thread()) return;
  const auto looks = looks_.load(base::memory_order_relaxed);
  if (looks < 2) looks_.store(looks + 1, base::memory_order_relaxed);
  if (looks == 0) return;
  const auto now = sleeps_of_this_thread();
  if (looks == 2 && now != sleeps_at_look_.load(base::memory_order_relaxed)) note_departure();
  sleeps_at_look_.store(now, base::memory_order_relaxed);
}

void getter_habit::add_one(std::uintptr_t word) noexcept {
  if ((word & sleeps_bits) < most_sleeps) word_.store(word + 1, base::memory_order_relaxed);
}

void getter_habit::note_late() noexcept {
  const auto word = word_.load(base::memory_order_relaxed);
  if (word == 0) return;
  if ((word & ~sleeps_bits) != this_thread()) {
    word_.store(0, base::memory_order_relaxed);
    return;
  }
  const auto now = sleeps_of_this_thread();
  const auto before = sleeps_before_.load(base::memory_order_relaxed);
  const bool was_away = now == 0 || now - before > sleeps_here_.load(base::memory_order_relaxed);
  sleeps_before_.store(now, base::memory_order_relaxed);
  sleeps_here_.store(0, base::memory_order_relaxed);
  if (now != 0 && before == 0) return;
  if (!was_away)
    add_one(word);
  else
    word_.store((word & sleeps_bits) > lost_by_being_away ? word - lost_by_being_away : 0, base::memory_order_relaxed);
}

bool getter_habit::is_of_this_thread() const noexcept {
  const auto word = word_.load(base::memory_order_relaxed);
  return (word & ~sleeps_bits) == this_thread() && (word & sleeps_bits) >= enough_sleeps;
}

}  // namespace doorbell::aio
