// SPDX-License-Identifier: Apache-2.0
#include "aio_contexts.hpp"

#include <sys/mman.h>

#include <utility>

#include "require.hpp"

namespace doorbell::fuzz {
namespace {

constexpr std::int64_t largest_errno = 4095;

}  // namespace

void aio_contexts::made(fuzzed_context& one, aio::aio_context_t handle, unsigned nr, std::optional<aio::context> by) {
  require(handle != 0, "a created context has a handle");
  for (const auto& other : all_)
    require(other.handle != handle || !other.ring_is_there, "no two rings have the same address");
  one.handle = handle;
  one.nr = nr;
  one.serial = ++last_serial_;
  one.orderly = true;
  one.ring_is_there = true;
  one.made_as = std::move(by);
  const auto& header = ring(one);
  require(header.magic == ring_magic && header.head == 0 && header.tail == 0, "a new ring is empty");
  require(header.nr > nr, "a ring has room for the requested number of events", header.nr);
  one.bytes = (std::size_t{header.nr} + 1) * sizeof(aio::io_event);
}

void aio_contexts::destroyed(fuzzed_context& one, std::span<slot> slots) {
  for (auto& each : slots)
    if (each.owner == one.serial) each.in_flight = 0;
  // A mapping that replaced the ring belongs to the program.
  if (!one.ring_is_there) ::munmap(reinterpret_cast<void*>(one.handle), one.bytes);
  one.handle = 0;
  one.nr = 0;
  one.made_as.reset();
}

void aio_contexts::check_charge() const {
  std::size_t asked = 0;
  for (const auto& each : all_) asked += each.handle != 0 ? each.nr : 0;
  require(aio::aio_nr() == asked, "the limit counts the existing contexts", static_cast<long long>(aio::aio_nr()));
}

void aio_contexts::account_for(const aio::io_event& event, const fuzzed_context& from, aio_slots& slots) {
  if (!from.orderly) return;
  auto* const request = slots.find(event.obj);
  require(request != nullptr && event.data == request, "an event belongs to a request, and has its data");
  require(request->owner == from.serial && request->in_flight > 0, "a request has one event, in its own context");
  --request->in_flight;
  require(event.res >= -largest_errno && event.res2 == 0, "a result is a count or an errno", event.res);
}

std::size_t aio_contexts::sure_events(const fuzzed_context& one, std::span<const slot> slots) {
  std::size_t sure = 0;
  for (const auto& each : slots)
    if (one.orderly && each.owner == one.serial && each.ends_by_itself) sure += each.in_flight;
  return sure;
}

std::size_t aio_contexts::in_flight(const fuzzed_context& one, std::span<const slot> slots) {
  std::size_t sum = 0;
  for (const auto& each : slots)
    if (each.owner == one.serial) sum += each.in_flight;
  return sum;
}

}  // namespace doorbell::fuzz
