// SPDX-License-Identifier: Apache-2.0
//
// The calls by handle. Checks the arguments, the program's pointers and numbers, in the kernel's order; kioctx checks
// the iocbs.
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/errno_kept.hpp>

#include <poll.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <tuple>

#include "../system/user_memory.hpp"
#include "call.hpp"
#include "kioctx.hpp"
#include "request_limit.hpp"

namespace doorbell::aio {
namespace {

constexpr std::size_t kernel_sigset_bytes = 8;

int answer(const std::error_code& ec, std::size_t otherwise = 0) noexcept {
  return ec ? -ec.value() : static_cast<int>(otherwise);
}

// @return nothing: wait without limit, because there is no timeout, or it is negative, or it does not fit into 64 bits
// of nanoseconds. Adds the two fields of the timeout, whatever their signs.
std::optional<std::chrono::nanoseconds> length_of(const timespec* timeout) noexcept {
  if (timeout == nullptr) return std::nullopt;
  std::int64_t seconds_as_ns = 0;  // equivalent fault (constant): __builtin_mul_overflow stores it before it is used
  std::int64_t total = 0;          // equivalent fault (constant): used only after __builtin_add_overflow has stored it
  if (__builtin_mul_overflow(std::int64_t{timeout->tv_sec}, std::int64_t{1'000'000'000}, &seconds_as_ns) ||
      __builtin_add_overflow(seconds_as_ns, std::int64_t{timeout->tv_nsec}, &total) || total < 0)
    return std::nullopt;
  return std::chrono::nanoseconds{total};
}

base::deadline deadline_after(std::optional<std::chrono::nanoseconds> length) noexcept {
  using clock = std::chrono::steady_clock;
  if (!length) return std::nullopt;
  const auto now = clock::now();
  if (*length >= clock::time_point::max() - now) return std::nullopt;
  return now + *length;
}

int get_events(aio_context_t handle, long min, long nr, io_event* events, const timespec* timeout,
               const sigset_t* mask) noexcept {
  if (timeout != nullptr && !is_readable(timeout, sizeof *timeout)) return -EFAULT;
  auto user = ioctx_table::process().lookup(handle);
  if (!user || min < 0 || min > nr) return -EINVAL;
  user->on_getevents();
  const auto count = static_cast<std::size_t>(nr);
  const auto length = length_of(timeout);
  const bool may_wait = min > 0 && length != std::chrono::nanoseconds::zero();
  if (may_wait && eventfd_ctx::in_callback()) return -EDEADLK;
  const kioctx::wait_limit limit{
      .may_wait = may_wait, .until = may_wait ? deadline_after(length) : std::nullopt, .mask = mask, .me = &user};
  // Like the kernel, checks only the memory that the call can fill: `nr` may exceed the size of the ring, and even the
  // size of memory.
  const auto bytes = user->at_most(count) * sizeof *events;
  if (count > 0 && !is_writable(events, bytes)) return user->wait_for_any(limit) ? -EFAULT : 0;
  std::error_code ec;
  const auto got = user->get_events(static_cast<std::size_t>(min), {events, count}, limit, ec);
  return answer(ec, got);
}

int destroy(aio_context_t handle) noexcept {
  auto user = ioctx_table::process().lookup(handle);
  if (!user) return -EINVAL;
  if (eventfd_ctx::in_callback()) return -EDEADLK;
  std::error_code ec;
  auto& ctx = *user.operator->();
  ctx.destroy(std::move(user), ec);
  return answer(ec);
}

// Runs the handlers of pending signals that `mask` does not block. The kernel does so whether or not the call has
// slept. @return whether a handler has run.
bool take_pending_signals(const sigset_t& mask) noexcept {
  const timespec no_wait{};
  return ::ppoll(nullptr, 0, &no_wait, &mask) < 0 && errno == EINTR;
}

}  // namespace

int io_setup(unsigned nr_events, aio_context_t* handle) noexcept {
  const base::errno_kept around;
  const call inside;
  if (!inside) [[unlikely]]
    return -EAGAIN;
  // equivalent fault (dropped): read_memory() fails there, too, except in the vsyscall page of some kernels
  if (!plausible(handle, sizeof *handle)) return -EFAULT;
  aio_context_t before = 0;  // equivalent fault (constant): used only after read_memory() has stored it
  if (!read_memory(handle, &before, sizeof before)) return -EFAULT;
  if (before != 0) return -EINVAL;
  std::error_code ec;
  const auto made = kioctx::make(nr_events, engine_kind::automatic, ec);
  if (ec) return answer(ec);
  if (write_memory(handle, &made.handle, sizeof made.handle)) return 0;
  // destroy() fails if another thread has guessed the handle and destroyed the context. The result is -EFAULT in both
  // cases.
  std::ignore = destroy(made.handle);
  return -EFAULT;
}

int io_destroy(aio_context_t handle) noexcept {
  const base::errno_kept around;
  const call inside;
  if (!inside) [[unlikely]]
    return -EAGAIN;
  return destroy(handle);
}

int io_submit(aio_context_t handle, long nr, iocb_abi** iocbs) noexcept {
  const base::errno_kept around;
  const call inside;
  if (!inside) [[unlikely]]
    return -EAGAIN;
  if (nr < 0) return -EINVAL;
  const auto user = ioctx_table::process().lookup(handle);
  if (!user) return -EINVAL;
  const auto count = user->at_most(static_cast<std::size_t>(nr));
  if (count == 0) return 0;
  if (!is_readable(static_cast<const void*>(iocbs), count * sizeof *iocbs)) return -EFAULT;
  std::error_code ec;
  const auto taken = user->submit(std::span<iocb_abi* const>{iocbs, count}, ec);
  return answer(ec, taken);
}

int io_cancel(aio_context_t handle, iocb_abi* request, io_event* /*result*/) noexcept {
  const base::errno_kept around;
  const call inside;
  if (!inside) [[unlikely]]
    return -EAGAIN;
  if (!is_readable(request, sizeof *request)) return -EFAULT;
  if (request->key != 0) return -EINVAL;
  const auto user = ioctx_table::process().lookup(handle);
  if (!user) return -EINVAL;
  std::error_code ec;
  user->cancel(*request, ec);
  return ec ? answer(ec) : -EINPROGRESS;
}

int io_getevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout) noexcept {
  const base::errno_kept around;
  base::refusals_remembered since_now;
  const call inside;
  if (!inside) [[unlikely]] {
    since_now.was_refused();
    return -EINTR;
  }
  return get_events(handle, min, nr, events, timeout, nullptr);
}

int io_pgetevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout,
                  const aio_sigset* blocked) noexcept {
  const base::errno_kept around;
  base::refusals_remembered since_now;
  const call inside;
  if (!inside) [[unlikely]] {
    since_now.was_refused();
    return -EINTR;
  }
  if (timeout != nullptr && !is_readable(timeout, sizeof *timeout)) return -EFAULT;
  if (blocked != nullptr && !is_readable(blocked, sizeof *blocked)) return -EFAULT;
  const sigset_t* const mask = blocked != nullptr ? blocked->sigmask : nullptr;
  if (mask != nullptr) {
    if (blocked->sigsetsize != kernel_sigset_bytes) return -EINVAL;
    if (!is_readable(mask, kernel_sigset_bytes)) return -EFAULT;
  }
  const int got = get_events(handle, min, nr, events, timeout, mask);
  const bool interrupted = mask != nullptr && take_pending_signals(*mask);
  return got == 0 && interrupted ? -EINTR : got;
}

std::size_t aio_nr() noexcept { return request_limit::process().charged(); }
std::size_t aio_max_nr() noexcept { return request_limit::process().max(); }

}  // namespace doorbell::aio
