// SPDX-License-Identifier: Apache-2.0
//
// Operations of a program on the ring itself: it takes events out of the ring, moves it, overwrites it, or maps other
// memory at its address.
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>

#include "address.hpp"
#include "aio_play.hpp"
#include "calls.hpp"
#include "require.hpp"

namespace doorbell::fuzz {

// Like fio: reads the events, then stores head.
void aio_play::take_events_from_ring(input& bytes) {
  auto& one = choose_context(bytes);
  auto wanted = bytes.byte();
  finish_aside();
  if (one.handle == 0 || !one.orderly) return;
  auto& header = aio_contexts::ring(one);
  const auto* const events = address<const aio::io_event>(one.handle + sizeof header);
  const auto tail = std::atomic_ref{header.tail}.load(std::memory_order_acquire);
  auto head = header.head;
  require(head < header.nr && tail < header.nr, "head and tail are in the ring");
  for (; head != tail && wanted > 0; --wanted) {
    aio_contexts::account_for(events[head], one, slots_);
    head = (head + 1) % header.nr;
  }
  std::atomic_ref{header.head}.store(head, std::memory_order_release);
}

void aio_play::scribble(input& bytes) {
  auto& one = choose_context(bytes);
  const auto place = bytes.number<std::uint16_t>();
  const auto size = 1 + bytes.below(32);
  std::array<std::uint8_t, 32> what{};
  for (auto& each : std::span{what}.first(size)) each = bytes.byte();
  finish_aside();
  if (one.handle == 0 || !one.ring_is_there) return;
  one.orderly = false;
  // Changes of the header have the most effect.
  const auto at = place % 4 != 0 ? place % sizeof(ring_header) : place % (one.bytes - size);
  std::memcpy(address<std::uint8_t>(one.handle) + at, what.data(), size);
}

void aio_play::move_ring(input& bytes) {
  auto& one = choose_context(bytes);
  finish_aside();
  if (one.handle == 0 || !one.orderly) return;
  auto* const from = address<void>(one.handle);
  void* const to = ::mmap(nullptr, one.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(to != MAP_FAILED, "address space can be reserved");
  if (::mremap(from, one.bytes, one.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
    require(false, "a ring can be moved", errno);
  one.handle = reinterpret_cast<std::uintptr_t>(to);
  require(calls::getevents(one.handle, 0, 0, nullptr, nullptr) == 0,
          "a context is found at the new address of its ring");
  require(calls::getevents(reinterpret_cast<std::uintptr_t>(from), 0, 0, nullptr, nullptr) == -EINVAL,
          "a context is not found at the old address of its ring");
}

// Maps other memory at the ring's address: zeroes, a copy of the ring's header, or memory that cannot be read.
void aio_play::replace_ring(input& bytes) {
  auto& one = choose_context(bytes);
  const auto what = bytes.below(3);
  finish_aside();
  if (one.handle == 0 || !one.ring_is_there) return;
  one.orderly = false;
  const auto header = aio_contexts::ring(one);
  const int access = what == 2 ? PROT_NONE : PROT_READ | PROT_WRITE;
  if (::mmap(address<void>(one.handle), one.bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED)
    require(false, "a ring can be replaced", errno);
  one.ring_is_there = false;
  if (what == 1) aio_contexts::ring(one) = header;
}

}  // namespace doorbell::fuzz
