// SPDX-License-Identifier: Apache-2.0
//
// reaper_thread: tells engines whether the reaper's thread calls them (reaper.hpp). Two things differ there:
//   - It runs while the program closes descriptors and opens others at their numbers, even if the program has one
//     thread only. So it does not read or write by a number after a look at it; see eventfd_signal.hpp.
//   - Its epoll tells it of each count that is added to an engine's descriptor (EPOLLET), so that it need not empty
//     the descriptor. A thread of the program that finds it readable empties it.
#pragma once

namespace doorbell::aio::reaper_thread {

[[nodiscard]] bool is_this_thread() noexcept;
/// Called once, by the thread itself.
void note_this_thread() noexcept;

}  // namespace doorbell::aio::reaper_thread
