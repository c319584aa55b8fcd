// SPDX-License-Identifier: Apache-2.0
#include "race_detector.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "failure.hpp"

namespace doorbell::model {
namespace {

const char* name_of(access_kind how) noexcept {
  switch (how) {
    case access_kind::read:
      return "read";
    case access_kind::write:
      return "write";
    case access_kind::atomic:
      return "atomic access";
  }
  return "access";
}

[[noreturn]] void report(const accessor& me, access_kind now, thread_id other, access_kind before,
                         const std::string& where) noexcept {
  fail(failure::data_race, std::string{"this "} + name_of(now) + " by " + thread_name(me.thread) + " and a " +
                               name_of(before) + " by " + thread_name(other) + " before it are not ordered: " + where);
}

}  // namespace

race_detector::race_detector(const arena& heap)
    : heap_{heap},
      histories_{static_cast<history*>(::mmap(nullptr, arena::size * sizeof(history), PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))} {
  if (histories_ == MAP_FAILED) fail(failure::broken_scenario, "the model checker cannot map its memory");
}

void race_detector::begin(const void* at, std::size_t bytes) noexcept {
  std::memset(static_cast<void*>(histories_ + heap_.offset_of(at)), 0, bytes * sizeof(history));
}

void race_detector::access(const accessor& me, const void* at, std::size_t bytes, access_kind how) noexcept {
  auto* const first = histories_ + heap_.offset_of(at);
  const auto kind = static_cast<std::size_t>(how);
  const auto now = static_cast<clock>(me.happened.of(me.thread));
  if (first[0].last[kind][me.thread] == now && first[bytes - 1].last[kind][me.thread] == now) return;
  for (std::size_t i = 0; i < bytes; ++i) {
    compare(me, first[i], static_cast<const std::byte*>(at) + i, how);
    first[i].last[kind][me.thread] = now;
  }
}

void race_detector::compare(const accessor& me, const history& known, const void* at, access_kind how) const noexcept {
  for (std::size_t kind = 0; kind < kinds; ++kind) {
    const auto before = static_cast<access_kind>(kind);
    if (!is_race(how, before)) continue;
    for (thread_id other = 0; other < max_threads; ++other)
      if (other != me.thread && known.last[kind][other] > me.happened.of(other)) [[unlikely]]
        report(me, how, other, before, heap_.describe(at));
  }
}

void sparse_accesses::add(const accessor& who, const void* at, std::size_t bytes, access_kind how) noexcept {
  compare(who, at, bytes, how);
  const auto* const begin = static_cast<const std::byte*>(at);
  const seen now{begin, begin + bytes, who.thread, who.happened.of(who.thread), how};
  // A later access replaces the earlier one: an access that is ordered after it is ordered after both.
  const auto known = std::ranges::find_if(all_, [&](const auto& each) {
    return each.begin == now.begin && each.end == now.end && each.thread == now.thread && each.how == now.how;
  });
  if (known != all_.end())
    *known = now;
  else
    all_.push_back(now);
}

void sparse_accesses::compare_all(const accessor& me, const void* at, std::size_t bytes,
                                  access_kind how) const noexcept {
  const auto* const begin = static_cast<const std::byte*>(at);
  for (const auto& each : all_) {
    const bool both_atomic = how == access_kind::atomic && each.how == access_kind::atomic;
    const bool both_read = how == access_kind::read && each.how == access_kind::read;
    if (each.thread == me.thread || both_atomic || both_read) continue;
    if (begin >= each.end || each.begin >= begin + bytes) continue;
    if (each.clock > me.happened.of(each.thread))
      report(me, how, each.thread, each.how, "on a thread's stack, or in memory that was mapped");
  }
}

}  // namespace doorbell::model
