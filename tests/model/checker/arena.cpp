// SPDX-License-Identifier: Apache-2.0
#include "arena.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "failure.hpp"

namespace doorbell::model {
namespace {

// A gap between two blocks, so that an access beyond the end of one does not hit the next.
constexpr std::size_t gap = 16;

void* map(std::size_t bytes) {
  void* const made = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made == MAP_FAILED) fail(failure::broken_scenario, "the model checker cannot map its memory");
  return made;
}

}  // namespace

arena::arena() : memory_{static_cast<std::byte*>(map(size))}, states_{static_cast<state*>(map(size))} {
  blocks_.reserve(1024);
}

void* arena::allocate(std::size_t bytes, std::size_t alignment, thread_id by) noexcept {
  alignment = std::max(alignment, alignof(std::max_align_t));
  const auto begin = (used_ + gap + alignment - 1) / alignment * alignment;
  const auto end = begin + std::max<std::size_t>(bytes, 1);
  if (end + gap > size)
    fail(failure::broken_scenario, "one execution allocates more memory than the model checker supports");
  used_ = end;
  std::fill(states_ + begin, states_ + end, state::live);
  // Gives uninitialized memory the same value in each execution.
  std::memset(memory_ + begin, 0xa5, end - begin);
  blocks_.push_back({.begin = memory_ + begin, .bytes = end - begin, .made_by = by});
  return memory_ + begin;
}

const arena::block& arena::release(void* at, thread_id by) noexcept {
  const auto found =
      std::find_if(blocks_.rbegin(), blocks_.rend(), [at](const auto& each) { return each.begin == at; });
  if (found == blocks_.rend()) fail(failure::crash, "a pointer is freed that was not allocated");
  if (found->freed) fail(failure::double_free, "freed again: " + describe(at));
  found->freed = true;
  found->freed_by = by;
  const auto offset = offset_of(at);
  std::fill_n(states_ + offset, found->bytes, state::freed);
  return *found;
}

void arena::let_stay(thread_id made_by) noexcept {
  for (auto& each : blocks_)
    if (each.made_by == made_by) each.may_stay = true;
}

const arena::block* arena::first_live() const noexcept {
  const auto found = std::ranges::find_if(blocks_, [](const auto& each) { return !each.freed && !each.may_stay; });
  return found != blocks_.end() ? &*found : nullptr;
}

std::string arena::describe(const void* at) const {
  for (const auto& each : blocks_) {
    const auto offset = static_cast<const std::byte*>(at) - each.begin;
    if (offset < 0 || offset >= static_cast<std::ptrdiff_t>(each.bytes)) continue;
    return "byte " + std::to_string(offset) + " of the " + std::to_string(each.bytes) + " bytes that " +
           thread_name(each.made_by) + " has allocated" +
           (each.freed ? " and " + thread_name(each.freed_by) + " has freed" : "");
  }
  return "no block";
}

void arena::clear() noexcept {
  std::fill_n(states_, used_, state::never_allocated);
  used_ = 0;
  blocks_.clear();
}

}  // namespace doorbell::model
