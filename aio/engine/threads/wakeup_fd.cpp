// SPDX-License-Identifier: Apache-2.0
#include "wakeup_fd.hpp"

#include <sys/eventfd.h>

#include <cerrno>

#include "../../system/eventfd_signal.hpp"
#include "../../system/private_table.hpp"
#include "../../system/raw_calls.hpp"
#include "../../system/reaper_thread.hpp"

namespace doorbell::aio {

std::error_code wakeup_fd::open() noexcept {
  fd_ = base::private_fd{base::unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}};
  if (!fd_) return {errno, std::system_category()};
  number_ = fd_.get();
  is_lost_.store(false, base::memory_order_relaxed);
  return {};
}

void wakeup_fd::wake() noexcept {
  // equivalent fault (dropped, constant): the poller's thread wakes once more, and finds nothing
  if (is_signalled_.exchange(true, base::memory_order_seq_cst)) return;
  if (reaper_thread::is_this_thread() && eventfd_signal::add(fd_, 1) == 0) return;
  const bool can_write = is_in_private_table() || fd_.is_ours();
  if (can_write && raw::add_to_eventfd(number_)) return;
  if (!can_write) is_lost_.store(true, base::memory_order_relaxed);
  is_signalled_.store(false, base::memory_order_seq_cst);
}

void wakeup_fd::clear() noexcept {
  raw::drain_eventfd(number_);
  is_signalled_.store(false, base::memory_order_seq_cst);
}

}  // namespace doorbell::aio
