// SPDX-License-Identifier: Apache-2.0
//
// busy_poll: lets a loop poll for the completions of file operations for a while before it sleeps, so that a completion
// does not have to wait until a sleeping CPU has been woken. This corresponds to SO_BUSY_POLL for sockets: it trades
// CPU time for latency.
//
//   doorbell::asio::set_busy_poll(io, 100us);
//
// The loop polls while operations are in flight, for the given time after a file operation was last started or ended.
// Between two polls it calls the other handlers that are ready. But io_context::poll() returns only when the time has
// passed or nothing is in flight, and run_one() also returns after a poll that has called no handler. Busy polling is
// meant for loops that one thread runs: with several threads, each poll wakes another thread.
//
// Thread safety: may be called at any time, by any thread, before the end of the execution context; takes effect with
// the next poll. Does not block, so callbacks of notifiers may call it. Errors: std::bad_alloc, if it is the first call
// that uses files of this execution context.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <chrono>

#include <boost/asio/execution_context.hpp>

#include <doorbell/asio/detail/file/file_service.hpp>
#include <doorbell/asio/detail/support/context_of.hpp>

namespace doorbell::asio {

/// @param context the execution context of the loop, such as an io_context.
/// @param at_most how long the loop polls before it sleeps. With 0 (the default) or less, it sleeps immediately.
inline void set_busy_poll(boost::asio::execution_context& context, std::chrono::nanoseconds at_most) {
  boost::asio::use_service<detail::file_service>(context).set_busy_poll(at_most);
}

/// @return how long the loop polls before it sleeps.
[[nodiscard]] inline std::chrono::nanoseconds busy_poll(boost::asio::execution_context& context) {
  return boost::asio::use_service<detail::file_service>(context).busy_poll();
}

/// As above, for the execution context of the executor.
template <detail::an_executor Executor>
void set_busy_poll(const Executor& executor, std::chrono::nanoseconds at_most) {
  set_busy_poll(detail::context_of(executor), at_most);
}
template <detail::an_executor Executor>
[[nodiscard]] std::chrono::nanoseconds busy_poll(const Executor& executor) {
  return busy_poll(detail::context_of(executor));
}

}  // namespace doorbell::asio
