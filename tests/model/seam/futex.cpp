// SPDX-License-Identifier: Apache-2.0
//
// In place of base/futex.cpp. Nobody is woken for no reason, and no signal interrupts; time is up at any moment.
#include <doorbell/base/futex.hpp>

#include <cstring>

#include "engine/scheduler.hpp"
#include "engine/tracking.hpp"
#include "sleep.hpp"

namespace doorbell::base {
namespace {

using model::scheduler;

template <class Word>
bool sleep_while(const Word& word, Word expected, Word mask, bool timed) noexcept {
  auto& all = scheduler::one();
  const model::not_tracked here;
  all.step({.name = "futex_wait", .object = &word});
  all.all_memory().access(all.who(), &word, sizeof word, model::access_kind::atomic);
  if ((word & mask) != (expected & mask)) {
    if (all.has_trace()) all.tell("it has changed");
    return true;
  }
  if (all.has_trace()) all.tell("sleeps");
  return model::fall_asleep(all, &word, timed);
}

template <class Word>
const Word& content_of(const atomic<Word>& word) noexcept {
  static_assert(sizeof word == sizeof(Word), "the atomic is its value and nothing else");
  return reinterpret_cast<const Word&>(word);
}

}  // namespace

futex_result futex_wait(const atomic<std::uint32_t>& word, std::uint32_t expected, deadline until) noexcept {
  const bool timed = until && *until != std::chrono::steady_clock::time_point::max();
  return sleep_while(content_of(word), expected, ~std::uint32_t{0}, timed) ? futex_result::woken
                                                                           : futex_result::timed_out;
}

void futex_wake_one(const atomic<std::uint32_t>* word) noexcept { model::wake(word, 1); }
void futex_wake_all(const atomic<std::uint32_t>* word) noexcept { model::wake(word, model::everybody); }

void futex_wait_high(const atomic<std::uint64_t>& word, std::uint64_t expected) noexcept {
  constexpr auto upper_half = ~std::uint64_t{0} << 32;
  sleep_while(content_of(word), expected, upper_half, false);
}

void futex_wake_one_high(const atomic<std::uint64_t>* word) noexcept { model::wake(word, 1); }

}  // namespace doorbell::base
