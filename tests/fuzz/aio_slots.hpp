// SPDX-License-Identifier: Apache-2.0
//
// slots: a request each, and memory for it to work on.
//
//   page of slot 0 | guard | page of slot 1 | guard | ...
//
// A request is submitted from a slot that no other request of the same input uses: concurrent reads share no buffer.
// Behind each page is an inaccessible guard page, so a request may name any length: it ends there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <doorbell/aio_calls.hpp>

#include "aio_files.hpp"

namespace doorbell::fuzz {

/// The kernel and doorbell refuse this address without an access; an unmapped one is refused only when it is used.
constexpr std::uint64_t kernels_half = 0xffff800000000000;

struct slot {
  aio::iocb_abi request;
  file on = file::closed;       // the file of the request, whatever its number is by now
  std::span<std::byte> memory;  // a page, and nothing behind it
  std::uint64_t owner = 0;      // serial of the context that took it
  unsigned in_flight = 0;       // how often
  bool ends_by_itself = false;  // whatever anybody does
};

class aio_slots {
 public:
  static constexpr std::size_t count = 48;

  aio_slots();
  ~aio_slots() = delete;
  aio_slots(const aio_slots&) = delete;
  aio_slots& operator=(const aio_slots&) = delete;

  /// Memory that is there and cannot be touched.
  [[nodiscard]] std::uint64_t guard() const noexcept;

  /// A slot that this input has not used; null when there is none left.
  [[nodiscard]] slot* next() noexcept { return used_ < count ? &slots_[used_++] : nullptr; }
  [[nodiscard]] std::span<slot> used() noexcept { return std::span{slots_}.first(used_); }
  /// The slot of a request, for any value in an event.
  [[nodiscard]] slot* find(const void* request) noexcept;

  /// To be called when no request is in flight: the memory of slots must not be written from now on.
  void leave_alone() noexcept;
  /// Before the next input: requires that it was not.
  void renew() noexcept;

 private:
  std::array<slot, count> slots_{};
  std::size_t used_ = 0;
};

}  // namespace doorbell::fuzz
