// SPDX-License-Identifier: Apache-2.0
//
// threads_note: what engine_threads keeps with a request. One atomic decides who goes on with it:
//
//   taken -> pending   by its holder: it lies in a lane for a worker, or waits in the poller; the holder lets go of it
//   pending -> taken   by compare-exchange: a worker that would carry it out, the poller whose file is ready, a cancel
//
//   worker, poller                       cancel
//   take(): succeeds, carries it out     take(): fails; it runs to its end
//   take(): fails, touches it no more    take(): succeeds; completes it with -ECANCELED
//
//   forbidden: both succeed (two completions) or neither (none). A compare-exchange has one winner.
//
// Workers and poller look at a request only under the lock of the place where they found it, until they have taken it; a
// cancel that has won passes through both locks before it completes. So the losers never touch a request that is gone.
//
// A holder that puts a request back may have missed a cancel, which finds it taken and does nothing:
//
//   holder                               cancel
//   put_back(): pending                  request::cancelled = true
//   reads request::cancelled             take()
//
//   legal:     the holder reads true, or take() succeeds (or both; then the compare-exchange decides).
//   forbidden: neither, and the request waits for good. All four are seq_cst: each writes, then reads the other's.
//
// Memory ordering: what a holder did before put_back() is seen by whoever takes next.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

struct crew;

struct threads_note {
  /// @return whether the caller now holds the request.
  [[nodiscard]] bool take() noexcept {
    bool is_pending = true;
    return pending.compare_exchange_strong(is_pending, false, base::memory_order_seq_cst);
  }
  void put_back() noexcept { pending.store(true, base::memory_order_seq_cst); }

  base::atomic<bool> pending{false};
  // Its holder's.
  crew* with = nullptr;          // whose threads carry it out
  std::uint64_t pinned = 0;      // its file, in the crew's pins; 0: none
  std::uint64_t watch = 0;       // the poller's name for it; 0: the poller does not know it
  bool needs_reopening = false;  // its file can be tried without sleeping only through a second description
  bool is_done = false;          // by a worker; otherwise it was not ready
  std::int64_t res = 0;          // of a request that is done
};

}  // namespace doorbell::aio
