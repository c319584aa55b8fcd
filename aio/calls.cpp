// SPDX-License-Identifier: Apache-2.0
//
// The calls by handle: the program's pointers and numbers are looked at here, in the kernel's order, and no further on.
#include <doorbell/aio_calls.hpp>

#include <chrono>
#include <optional>

#include "kioctx.hpp"
#include "request_limit.hpp"
#include "user_memory.hpp"

namespace doorbell::aio {
namespace {

constexpr std::size_t kernel_sigset_bytes = 8;

int answer(const std::error_code& ec, std::size_t otherwise = 0) noexcept {
  return ec ? -ec.value() : static_cast<int>(otherwise);
}

// No timeout waits for ever, and so does a negative one.
base::deadline deadline_after(const timespec* timeout) noexcept {
  using namespace std::chrono;
  if (timeout == nullptr || timeout->tv_sec < 0 || timeout->tv_nsec < 0) return std::nullopt;
  const auto now = steady_clock::now();
  const auto whole = seconds{timeout->tv_sec} + duration_cast<seconds>(nanoseconds{timeout->tv_nsec});
  if (whole >= duration_cast<seconds>(steady_clock::time_point::max() - now)) return std::nullopt;
  return now + seconds{timeout->tv_sec} + nanoseconds{timeout->tv_nsec};
}

int get_events(aio_context_t handle, long min, long nr, io_event* events, const timespec* timeout,
               const sigset_t* mask) noexcept {
  if (timeout != nullptr && !plausible(timeout, sizeof *timeout)) return -EFAULT;
  const auto user = ioctx_table::process().lookup(handle);
  if (!user || min < 0 || min > nr) return -EINVAL;
  const auto count = static_cast<std::size_t>(nr);
  const bool polls = timeout != nullptr && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
  const bool may_wait = min > 0 && !polls;
  if (may_wait && eventfd_ctx::in_callback()) return -EDEADLK;
  const kioctx::wait_limit limit{.may_wait = may_wait, .until = deadline_after(timeout), .mask = mask};
  if (count > 0 && !plausible(events, count * sizeof *events)) return user->wait_for_any(limit) ? -EFAULT : 0;
  std::error_code ec;
  const auto got = user->get_events(static_cast<std::size_t>(min), {events, count}, limit, ec);
  return answer(ec, got);
}

}  // namespace

int io_setup(unsigned nr_events, aio_context_t* handle) noexcept {
  if (!plausible(handle, sizeof *handle)) return -EFAULT;
  if (*handle != 0) return -EINVAL;
  std::error_code ec;
  const auto made = kioctx::make(nr_events, ec);
  if (!ec) *handle = made.handle;
  return answer(ec);
}

int io_destroy(aio_context_t handle) noexcept {
  auto user = ioctx_table::process().lookup(handle);
  if (!user) return -EINVAL;
  if (eventfd_ctx::in_callback()) return -EDEADLK;
  std::error_code ec;
  auto& ctx = *user.operator->();
  ctx.destroy(std::move(user), ec);
  return answer(ec);
}

int io_submit(aio_context_t handle, long nr, iocb_abi** iocbs) noexcept {
  if (nr < 0) return -EINVAL;
  const auto user = ioctx_table::process().lookup(handle);
  if (!user) return -EINVAL;
  const auto count = user->at_most(static_cast<std::size_t>(nr));
  if (count == 0) return 0;
  if (!plausible(iocbs, count * sizeof *iocbs)) return -EFAULT;
  std::error_code ec;
  const auto taken = user->submit(std::span<iocb_abi* const>{iocbs, count}, ec);
  return answer(ec, taken);
}

int io_cancel(aio_context_t handle, iocb_abi* request, io_event* /*result*/) noexcept {
  if (!plausible(request, sizeof *request)) return -EFAULT;
  if (request->key != 0) return -EINVAL;
  const auto user = ioctx_table::process().lookup(handle);
  if (!user) return -EINVAL;
  std::error_code ec;
  user->cancel(*request, ec);
  return ec ? answer(ec) : -EINPROGRESS;
}

int io_getevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout) noexcept {
  return get_events(handle, min, nr, events, timeout, nullptr);
}

int io_pgetevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout,
                  const aio_sigset* blocked) noexcept {
  if (timeout != nullptr && !plausible(timeout, sizeof *timeout)) return -EFAULT;
  if (blocked != nullptr && !plausible(blocked, sizeof *blocked)) return -EFAULT;
  const sigset_t* const mask = blocked != nullptr ? blocked->sigmask : nullptr;
  if (mask != nullptr) {
    if (blocked->sigsetsize != kernel_sigset_bytes) return -EINVAL;
    if (!plausible(mask, kernel_sigset_bytes)) return -EFAULT;
  }
  return get_events(handle, min, nr, events, timeout, mask);
}

std::size_t aio_nr() noexcept { return request_limit::process().charged(); }
std::size_t aio_max_nr() noexcept { return request_limit::process().max(); }

}  // namespace doorbell::aio
