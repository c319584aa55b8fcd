// SPDX-License-Identifier: Apache-2.0
//
// The fuzzer's knowledge of its contexts: as much as the oracles need.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include "aio_slots.hpp"
#include "support/ring_header.hpp"

namespace doorbell::fuzz {

struct fuzzed_context {
  aio::aio_context_t handle = 0;  // 0: none
  unsigned nr = 0;                // as requested
  std::size_t bytes = 0;          // of the ring
  std::uint64_t serial = 0;
  /// The program has used the ring correctly, so each event occurs once, with its own result.
  bool orderly = true;
  /// The ring is still mapped at the address of the handle.
  bool ring_is_there = true;
  /// The object that created it, if an engine was requested. The context is used and destroyed by its handle.
  std::optional<aio::context> made_as;
};

using test::ring_header;
constexpr unsigned ring_magic = 0xa10a10a1;

class aio_contexts {
 public:
  static constexpr std::size_t count = 4;

  [[nodiscard]] fuzzed_context& at(std::size_t index) { return all_.at(index); }
  [[nodiscard]] std::span<fuzzed_context> all() noexcept { return all_; }

  /// After an io_setup that succeeded. @param by the object that created it, if it was not io_setup itself.
  void made(fuzzed_context& one, aio::aio_context_t handle, unsigned nr, std::optional<aio::context> by);
  /// After an io_destroy that succeeded.
  void destroyed(fuzzed_context& one, std::span<slot> slots);

  /// Requires that the limit counts the existing contexts.
  void check_charge() const;

  [[nodiscard]] static ring_header& ring(const fuzzed_context& one) noexcept { return test::header_at(one.handle); }
  /// Records an event of a context.
  static void account_for(const aio::io_event& event, const fuzzed_context& from, aio_slots& slots);
  /// The number of events that will arrive without further calls.
  [[nodiscard]] static std::size_t sure_events(const fuzzed_context& one, std::span<const slot> slots);
  [[nodiscard]] static std::size_t in_flight(const fuzzed_context& one, std::span<const slot> slots);

 private:
  std::array<fuzzed_context, count> all_;
  std::uint64_t last_serial_ = 0;
};

}  // namespace doorbell::fuzz
