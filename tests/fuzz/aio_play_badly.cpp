// SPDX-License-Identifier: Apache-2.0
//
// Invalid calls: each returns an error, and changes nothing.
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>

#include "address.hpp"
#include "aio_play.hpp"
#include "calls.hpp"
#include "require.hpp"

namespace doorbell::fuzz {
namespace {

using aio::io_event;

/// An invalid address: a call with it returns EFAULT, or does not use it.
template <class T>
T* no_address(input& bytes) noexcept {
  return address<T>(bytes.one_of(std::array<std::uint64_t, 4>{0, kernels_half, 8, UINT64_MAX}));
}

void require_errno(int answer) { require(answer < 0 && answer > -4096, "a refused call returns an errno", answer); }

}  // namespace

void aio_play::setup_badly(input& bytes) {
  aio::aio_context_t none = 0;
  const auto nr = bytes.one_of(std::array{0U, 0x80000000U, 0x80000001U, 0xffffffffU, 1001U, 0x8000000U});
  auto* const handle = bytes.below(2) == 0 ? &none : no_address<aio::aio_context_t>(bytes);
  require_errno(calls::setup(nr, handle));
  require(none == 0, "a failed setup sets no handle");
}

aio::aio_context_t aio_play::no_handle(input& bytes) {
  fake_ring_.magic = ring_magic;
  const auto& some = choose_context(bytes);
  const std::array<aio::aio_context_t, 8> choices{0,
                                                  1,
                                                  0x1000,
                                                  kernels_half,
                                                  reinterpret_cast<std::uintptr_t>(&fake_ring_),
                                                  some.handle + 0x1000,
                                                  last_destroyed_,
                                                  bytes.number<aio::aio_context_t>()};
  const auto chosen = bytes.one_of(choices);
  const bool is_one = std::ranges::any_of(contexts_.all(), [&](const auto& each) { return each.handle == chosen; });
  return is_one ? 1 : chosen;
}

void aio_play::destroy_badly(input& bytes) {
  require(calls::destroy(no_handle(bytes)) == -EINVAL, "an invalid handle destroys no context");
}

void aio_play::submit_badly(input& bytes) {
  auto& one = choose_context(bytes);
  auto* nowhere = no_address<aio::iocb_abi>(bytes);
  switch (bytes.below(5)) {
    case 0:
      require(calls::submit(one.handle, bytes.one_of(std::array{-1L, LONG_MIN}), &nowhere) == -EINVAL,
              "a negative number of requests is refused");
      break;
    case 1:
      require_errno(
          calls::submit(one.handle, bytes.one_of(std::array{1L, 100L, LONG_MAX}), no_address<aio::iocb_abi*>(bytes)));
      break;
    case 2:
      require_errno(calls::submit(one.handle, 1, &nowhere));
      break;
    case 3:
      require(calls::submit(no_handle(bytes), 1, &nowhere) == -EINVAL, "an invalid handle accepts no request");
      break;
    default:
      require(calls::submit(one.handle, 0, nullptr) <= 0, "no request is accepted if none is given");
  }
}

void aio_play::cancel_badly(input& bytes) {
  auto& one = choose_context(bytes);
  aio::iocb_abi never_submitted;
  switch (bytes.below(4)) {
    case 0:
      require(calls::cancel(one.handle, no_address<aio::iocb_abi>(bytes), nullptr) == -EFAULT,
              "an invalid address of an iocb is refused");
      break;
    case 1:
      never_submitted.key = 1 + bytes.number<std::uint16_t>();
      [[fallthrough]];
    case 2:
      require(calls::cancel(one.handle, &never_submitted, nullptr) == -EINVAL,
              "a request that is not in flight is refused");
      break;
    default:
      require(calls::cancel(no_handle(bytes), &never_submitted, no_address<io_event>(bytes)) == -EINVAL,
              "an invalid handle is refused");
  }
}

void aio_play::get_badly(input& bytes) {
  auto& one = choose_context(bytes);
  std::array<io_event, 4> events;
  timespec no_wait{};
  switch (bytes.below(7)) {
    case 0:
      require(calls::getevents(one.handle, 3, 2, events.data(), &no_wait) == -EINVAL, "a min above nr is refused");
      break;
    case 1:
      require(
          calls::getevents(one.handle, bytes.one_of(std::array{-1L, LONG_MIN}), 2, events.data(), &no_wait) == -EINVAL,
          "a min below 0 is refused");
      break;
    case 2:
      require(calls::getevents(no_handle(bytes), 1, 2, events.data(), nullptr) == -EINVAL,
              "an invalid handle is refused");
      break;
    case 3:
      require_errno(calls::getevents(one.handle, 1, 2, events.data(), address<timespec>(kernels_half)));
      break;
    case 4: {
      // Takes no event, whether or not one is available.
      const int answer = calls::getevents(one.handle, 0, bytes.one_of(std::array{1L, LONG_MAX}),
                                          no_address<io_event>(bytes), &no_wait);
      require(answer <= 0, "no event is returned to an invalid address", answer);
      break;
    }
    case 5:
      require(calls::pgetevents(one.handle, 0, 1, events.data(), &no_wait, address<aio::aio_sigset>(kernels_half)) ==
                  -EFAULT,
              "an invalid address of a mask is refused");
      break;
    default: {
      sigset_t mask;
      ::sigemptyset(&mask);
      const aio::aio_sigset blocked{.sigmask = bytes.below(2) == 0 ? &mask : address<sigset_t>(kernels_half),
                                    .sigsetsize = bytes.number<std::uint16_t>()};
      if (blocked.sigmask == &mask && blocked.sigsetsize == 8) return;
      require_errno(calls::pgetevents(one.handle, 0, 1, events.data(), &no_wait, &blocked));
    }
  }
}

}  // namespace doorbell::fuzz
