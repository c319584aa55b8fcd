// SPDX-License-Identifier: Apache-2.0
//
// busy_poll: a loop that looks for the completions of files for a while before it sleeps, so that a disk's answer is not kept waiting
// by a processor that has to be woken. It is what SO_BUSY_POLL is for sockets: latency, at the price of a processor.
//
//   doorbell::asio::set_busy_poll(io, 100us);
//
// It goes on for so long after an operation on a file was last started or ended, while any is in flight. Between two looks the loop
// calls what other handlers are ready. But io_context::poll() does not return before the time is over or nothing is in flight, and
// run_one() returns for a look as for a handler. It is for loops that one thread runs: where there are several, each look wakes
// another.
//
// Thread safety: may be called at any time, by any thread, before the end of the execution context; it is so from the next look on.
// Does not block, so callbacks of notifiers may call it. Errors: std::bad_alloc, in whoever is the first to speak of files.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <chrono>

#include <boost/asio/execution_context.hpp>

#include <doorbell/asio/detail/context_of.hpp>
#include <doorbell/asio/detail/file_service.hpp>

namespace doorbell::asio {

/// @param context whose loop it is: an io_context, say.
/// @param at_most how long it looks before it sleeps. Not more than 0, as at first: it sleeps at once.
inline void set_busy_poll(boost::asio::execution_context& context, std::chrono::nanoseconds at_most) {
  boost::asio::use_service<detail::file_service>(context).set_busy_poll(at_most);
}

/// @return how long the context's loop looks before it sleeps.
[[nodiscard]] inline std::chrono::nanoseconds busy_poll(boost::asio::execution_context& context) {
  return boost::asio::use_service<detail::file_service>(context).busy_poll();
}

/// The same of the context that the executor is of.
template <detail::an_executor Executor>
void set_busy_poll(const Executor& executor, std::chrono::nanoseconds at_most) {
  set_busy_poll(detail::context_of(executor), at_most);
}
template <detail::an_executor Executor>
[[nodiscard]] std::chrono::nanoseconds busy_poll(const Executor& executor) {
  return busy_poll(detail::context_of(executor));
}

}  // namespace doorbell::asio
