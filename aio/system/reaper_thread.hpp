// SPDX-License-Identifier: Apache-2.0
//
// reaper_thread: tells engines whether the reaper's thread calls them (reaper.hpp). The reaper's thread differs in two
// ways:
//   - It runs while the program closes descriptors and opens others at their numbers, even if the program has only one
//     thread. So it does not check a number and then read or write by it; see eventfd_signal.hpp.
//   - Its epoll reports each count that is added to an engine's descriptor (EPOLLET), so it need not drain the
//     descriptor. A thread of the program that finds the descriptor readable drains it.
#pragma once

namespace doorbell::aio::reaper_thread {

[[nodiscard]] bool is_this_thread() noexcept;
/// Called once, by the reaper's thread itself.
void note_this_thread() noexcept;

}  // namespace doorbell::aio::reaper_thread
