// SPDX-License-Identifier: Apache-2.0
#include "aio_slots.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "require.hpp"

namespace doorbell::fuzz {
namespace {

// Requests also write this value to eventfds. It is small, so that many writes fit: a write that does not fit blocks
// its thread until another thread reads (docs/aio.md, "Requests that a cancel can stop").
constexpr std::uint64_t untouched = 0xa5a5a5a5;

std::size_t page_size() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

std::span<std::uint64_t> words_of(std::span<std::byte> memory) noexcept {
  void* const page_start = memory.data();
  return {static_cast<std::uint64_t*>(page_start), memory.size() / sizeof(std::uint64_t)};
}

}  // namespace

aio_slots::aio_slots() {
  const auto page = page_size();
  void* const all = ::mmap(nullptr, count * 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(all != MAP_FAILED, "memory can be mapped");
  auto* at = static_cast<std::byte*>(all);
  for (auto& each : slots_) {
    require(::mprotect(at, page, PROT_READ | PROT_WRITE) == 0, "memory can be mapped");
    each.memory = {at, page};
    std::ranges::fill(words_of(each.memory), untouched);
    at += 2 * page;
  }
}

std::uint64_t aio_slots::guard() const noexcept {
  return reinterpret_cast<std::uintptr_t>(slots_.front().memory.data()) + page_size();
}

slot* aio_slots::find(const void* request) noexcept {
  const auto found = std::ranges::find_if(used(), [&](const auto& each) { return &each.request == request; });
  return found != used().end() ? &*found : nullptr;
}

void aio_slots::leave_alone() noexcept {
  for (auto& each : used()) std::ranges::fill(words_of(each.memory), untouched);
}

void aio_slots::renew() noexcept {
  for (auto& each : used()) {
    const bool same = std::ranges::all_of(words_of(each.memory), [](auto one) { return one == untouched; });
    require(same, "no buffer is accessed after the context has been destroyed");
    each.owner = 0;
    each.in_flight = 0;
  }
  used_ = 0;
}

}  // namespace doorbell::fuzz
