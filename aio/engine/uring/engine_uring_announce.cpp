// SPDX-License-Identifier: Apache-2.0
//
// engine_uring: announce() makes the descriptor readable although its completions have been reaped: it submits an entry
// without an operation, whose completion, the announcement, is an edge and stays in the queue until a thread of the
// program reaps it. There is at most one that no thread of the program has reaped. It also wakes the reaper, whose
// epoll has the same descriptor; reap() in the reaper's thread leaves the announcement where it is:
//
//   the reaper's thread                  event loop
//   reap(): takes a completion
//   the event is in the context's ring
//   announce(): made; submits
//   wakes once more; the announcement is
//     the only entry: stays
//                                        the descriptor is readable
//                                        reap(): takes it; announcement_ = none
//                                        takes the event from the context's ring
//
//   forbidden: the reaper's thread takes the announcement, and the loop sleeps although the event is there. And: it
//              takes and replaces the announcement each time that the replacement wakes it, forever.
//
// If other entries are behind the announcement, for example the end of a read of watch(), the reaper's thread takes all
// of them, and submits the announcement again.
//
//   announce() in the reaper's thread    reap() in the event loop
//   the event is in the context's ring   announcement_ = none
//   announcement_ is made ? -> returns   takes the event from the context's ring
//
//   legal:     announce() finds made: the loop has yet to look into the context's ring. Or it finds none, and makes
//              another announcement.
//   forbidden: neither, and the loop misses the event. All four accesses are seq_cst, or under the ring's lock.
//
// If the ring refuses the entry, announce() tries again, unless the ring has completions: they are an edge of the
// descriptor that the loop has yet to see, or the reaper's thread fetches them. Then announcement_ is owed, and the
// next reap() of the reaper's thread announces.
#include <thread>

#include "../../system/reaper_thread.hpp"
#include "engine_uring.hpp"
#include "user_data.hpp"

namespace doorbell::aio {

// Retries while the ring refuses the entry, as wake() does. If there are completions, the loop has been told of them.
void engine_uring::announce() noexcept {
  while (works() && !try_announce() && !has_completions()) std::this_thread::yield();
}

bool engine_uring::try_announce() noexcept {
  if (is_announced()) return true;
  const base::mutex_lock held{submission_lock_};
  if (is_announced()) return true;
  announcement_.store(announcement::making, base::memory_order_seq_cst);
  auto* const entry = next_entry();
  if (entry != nullptr) prepare_nothing(entry, of_announcement);
  const bool is_submitted = entry != nullptr && submit(entry);
  // Another thread may have reaped the announcement already, and has then changed the state.
  auto making = announcement::making;
  announcement_.compare_exchange_strong(making, is_submitted ? announcement::made : announcement::owed,
                                        base::memory_order_seq_cst);
  return is_submitted;
}

bool engine_uring::has_completions() const noexcept {
  const auto reaped = base::atomic_ref<unsigned>{*ring_.cq.khead}.load(base::memory_order_acquire);
  const auto posted = base::atomic_ref<unsigned>{*ring_.cq.ktail}.load(base::memory_order_acquire);
  return posted != reaped || io_uring_cq_has_overflow(&ring_);
}

// A thread of the program looks into the context's ring after reap().
void engine_uring::announce_again() noexcept {
  auto owed = announcement::owed;
  if (reaper_thread::is_this_thread())
    announce();
  else
    announcement_.compare_exchange_strong(owed, announcement::none, base::memory_order_seq_cst);
}

// For an announcement that is the next entry of the queue. @param behind the number of entries behind it, without those
// for which the queue had no room.
// @return false: it stays in the queue.
bool engine_uring::take_announcement(unsigned behind) noexcept {
  const bool is_reaper = reaper_thread::is_this_thread();
  if (is_reaper && behind == 0 && !io_uring_cq_has_overflow(&ring_)) return false;
  announcement_.store(is_reaper ? announcement::owed : announcement::none, base::memory_order_seq_cst);
  return true;
}

}  // namespace doorbell::aio
