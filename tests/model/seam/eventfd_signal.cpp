// SPDX-License-Identifier: Apache-2.0
//
// Replaces aio/system/eventfd_signal.cpp: behaves as on a system where io_setup(2) fails, unless the scenario has
// called allow_kernel_aio().
#include "system/eventfd_signal.hpp"

#include <tuple>

#include "checker/tracking.hpp"
#include "kernel.hpp"

namespace doorbell::aio::eventfd_signal {

std::uint64_t add(const base::private_fd& eventfd, std::uint64_t n) noexcept {
  if (!model::allows_kernel_aio()) return n;
  if (!eventfd.is_ours()) return 0;
  const model::not_tracked here;
  std::ignore = model::signal_eventfd(eventfd.get(), n);
  return 0;
}

}  // namespace doorbell::aio::eventfd_signal
