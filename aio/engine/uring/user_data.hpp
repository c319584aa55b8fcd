// SPDX-License-Identifier: Apache-2.0
//
// The user_data of the entries of a ring: whose entry it is. The kernel copies it into the entry's completion.
#pragma once

#include <liburing.h>

#include <cstdint>

#include "../../request/request.hpp"

namespace doorbell::aio {

// Entries that belong to no request. No request has such a low address. The value of a watch also contains its slot.
inline constexpr std::uint64_t of_nobody = 0;
inline constexpr std::uint64_t of_wake = 1;
inline constexpr std::uint64_t of_watch = 2;
// An entry of a request has the request's address. This bit is set in it if the request ends by itself.
inline constexpr std::uint64_t of_file = 4;
// Has the bits of neither of_watch nor of_file.
inline constexpr std::uint64_t of_announcement = 8;
static_assert(alignof(request) > of_file);
inline constexpr unsigned slot_shift = 3;
inline constexpr std::uint64_t lowest_request = 4096;

constexpr bool is_of_request(std::uint64_t owner) noexcept { return owner >= lowest_request; }

constexpr bool is_of_watch(std::uint64_t owner) noexcept { return !is_of_request(owner) && (owner & of_watch) != 0; }

static_assert(!is_of_watch(of_announcement) && (of_announcement & of_file) == 0);

constexpr std::uint64_t owner_of_watch(std::uint32_t slot) noexcept {
  return of_watch | std::uint64_t{slot} << slot_shift;
}

constexpr std::uint32_t slot_of_watch(std::uint64_t owner) noexcept {
  return static_cast<std::uint32_t>(owner >> slot_shift);
}

inline std::uint64_t owner_of(const request& started) noexcept {
  return reinterpret_cast<std::uintptr_t>(&started) | (started.ends_by_itself ? of_file : 0);
}

inline request* request_of(std::uint64_t owner) noexcept {
  return reinterpret_cast<request*>(static_cast<std::uintptr_t>(owner & ~of_file));
}

inline void prepare_nothing(io_uring_sqe* entry, std::uint64_t owner) noexcept {
  io_uring_prep_nop(entry);
  io_uring_sqe_set_data64(entry, owner);
}

}  // namespace doorbell::aio
