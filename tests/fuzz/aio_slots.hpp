// SPDX-License-Identifier: Apache-2.0
//
// slots: each is a request, and memory for it.
//
//   page of slot 0 | guard | page of slot 1 | guard | ...
//
// A request is submitted from a slot that no other request of the same input uses, so concurrent reads share no buffer.
// After each page is an inaccessible guard page, so a request may name any length: its access ends there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <doorbell/aio_calls.hpp>

#include "aio_files.hpp"

namespace doorbell::fuzz {

/// The kernel and doorbell refuse this address without an access. An unmapped address is refused only when it is used.
constexpr std::uint64_t kernels_half = 0xffff800000000000;

struct slot {
  aio::iocb_abi request;
  file on = file::closed;       // the file of the request, also if its number is reused
  std::span<std::byte> memory;  // a page, followed by the guard page
  std::uint64_t owner = 0;      // serial of the context that accepted it
  unsigned in_flight = 0;       // how many times it is in flight
  bool ends_by_itself = false;  // without any further call
};

class aio_slots {
 public:
  static constexpr std::size_t count = 48;

  aio_slots();
  ~aio_slots() = delete;
  aio_slots(const aio_slots&) = delete;
  aio_slots& operator=(const aio_slots&) = delete;

  /// The address of a mapped page that cannot be accessed.
  [[nodiscard]] std::uint64_t guard() const noexcept;

  /// A slot that this input has not used; null if there is none left.
  [[nodiscard]] slot* next() noexcept { return used_ < count ? &slots_[used_++] : nullptr; }
  [[nodiscard]] std::span<slot> used() noexcept { return std::span{slots_}.first(used_); }
  /// The slot of a request; null if `request` is any other value.
  [[nodiscard]] slot* find(const void* request) noexcept;

  /// Call it when no request is in flight: from now on the memory of slots must not be written.
  void leave_alone() noexcept;
  /// Requires that the memory was not written. Called before the next input.
  void renew() noexcept;

 private:
  std::array<slot, count> slots_{};
  std::size_t used_ = 0;
};

}  // namespace doorbell::fuzz
