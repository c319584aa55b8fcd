// SPDX-License-Identifier: Apache-2.0
//
// Calls libaio's functions where they have the same arguments. Calls that libaio does not support (a signal set of
// another size) are made by handle.
#include <unistd.h>

#include <cerrno>

#include "../../libaio/entry_points.hpp"
#include "aio_slots.hpp"
#include "calls.hpp"
#include "require.hpp"

namespace doorbell::fuzz::calls {
namespace {

constexpr int errno_before = 4242;

/// No function of libaio changes errno.
template <class Call>
int with_errno_kept(Call call) noexcept {
  errno = errno_before;
  const int answer = call();
  require(errno == errno_before, "libaio does not change errno", errno);
  return answer;
}

/// Chooses one of two equivalent calls of libaio. All calls for one handle make the same choice.
bool is_odd_page(aio::aio_context_t handle) noexcept {
  return (handle / static_cast<unsigned long>(::sysconf(_SC_PAGESIZE))) % 2 != 0;
}

}  // namespace

int setup(unsigned nr_events, aio::aio_context_t* handle) noexcept {
  const auto nr = static_cast<int>(nr_events);
  // io_queue_init() ignores the previous value of the handle.
  const bool by_queue = nr % 2 == 1 && handle != nullptr && nr > 0 && nr < 1000 && *handle == 0;
  return with_errno_kept([&] { return by_queue ? ::io_queue_init(nr, handle) : ::io_setup(nr, handle); });
}

int destroy(aio::aio_context_t handle) noexcept {
  return with_errno_kept([&] { return is_odd_page(handle) ? ::io_queue_release(handle) : ::io_destroy(handle); });
}

int submit(aio::aio_context_t handle, long nr, aio::iocb_abi** iocbs) noexcept {
  return with_errno_kept([&] { return ::io_submit(handle, nr, iocbs); });
}

int cancel(aio::aio_context_t handle, aio::iocb_abi* request, aio::io_event* result) noexcept {
  return with_errno_kept([&] { return ::io_cancel(handle, request, result); });
}

int getevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout) noexcept {
  const bool is_a_look = min == 0 && nr == 0 && events == nullptr;
  return with_errno_kept(
      [&] { return is_a_look ? ::io_queue_wait(handle, timeout) : ::io_getevents(handle, min, nr, events, timeout); });
}

int pgetevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout,
               const aio::aio_sigset* blocked) noexcept {
  const auto in_users_half = reinterpret_cast<std::uintptr_t>(blocked) < kernels_half;
  if (blocked == nullptr || !in_users_half || blocked->sigsetsize != 8)
    return aio::io_pgetevents(handle, min, nr, events, timeout, blocked);
  return with_errno_kept([&] { return ::io_pgetevents(handle, min, nr, events, timeout, blocked->sigmask); });
}

}  // namespace doorbell::fuzz::calls
