// SPDX-License-Identifier: Apache-2.0
//
// threads_request_state: the state that engine_threads keeps with a request. One atomic decides which thread handles
// the request:
//
//   taken -> pending   by its holder: the request waits in a queue or in the poller; the holder lets go of it
//   pending -> taken   by compare-exchange: by a worker, by the poller when the file is ready, or by a cancel
//
//   worker, poller                       cancel
//   take(): succeeds, carries it out     take(): fails; the request completes normally
//   take(): fails, does not access it    take(): succeeds; completes it with -ECANCELED
//     any more
//
//   forbidden: both succeed (two completions) or neither (none). A compare-exchange succeeds in one thread only.
//
// A worker or the poller accesses a request that it has not taken only under the lock of the list where it found it. A
// cancel that has taken the request acquires the lock of the worker pool, and, if the request is in the poller, the
// lock of the poller, before it completes the request. So a thread whose take() fails never accesses a request that has
// been freed.
//
// A holder that puts a request back may miss a concurrent cancel, which finds the request taken and has no effect:
//
//   holder                               cancel
//   put_back(): pending                  request::cancelled = true
//   reads request::cancelled             take()
//
//   legal:     the holder reads true, or take() succeeds (or both; then the compare-exchange decides).
//   forbidden: neither, and the request waits for ever. Each thread writes, then reads what the other thread writes;
//              all four accesses are seq_cst.
//
// Memory ordering: put_back() releases, and take() acquires what the previous holder did.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

struct io_threads;

struct threads_request_state {
  /// @return whether the caller now holds the request.
  [[nodiscard]] bool take() noexcept {
    bool is_pending = true;
    return pending.compare_exchange_strong(is_pending, false, base::memory_order_seq_cst);
  }
  void put_back() noexcept { pending.store(true, base::memory_order_seq_cst); }

  base::atomic<bool> pending{false};
  // Written by the holder only. The poller also reads them, under its lock.
  io_threads* with = nullptr;    // the set of I/O threads that carries it out
  std::uint64_t pinned = 0;      // its file, in the I/O threads' pins; 0: none
  std::uint64_t watch = 0;       // its key in the poller; 0: not in the poller
  bool needs_reopening = false;  // its file can be tried without sleeping only through a second file description
  bool is_done = false;          // a worker has completed it; if false, it was not ready
  std::int64_t res = 0;          // of a request that is done
};

}  // namespace doorbell::aio
