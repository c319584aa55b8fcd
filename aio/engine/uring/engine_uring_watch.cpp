// SPDX-License-Identifier: Apache-2.0
//
// engine_uring: the reads of eventfds that watch() and watch_kept() submit.
//
// The ring may read several eventfds of watch(): the newest one, and older ones that the program has closed, because
// requests in flight still add to them. The ring keeps the file of each (IORING_REGISTER_FILES, Linux 5.13 and later),
// so that it can read an older one again. Each has a slot, which its serial number determines:
//
//   a thread that reaps                  submitter
//                                        eventfd 1 is lost; watches eventfd 2
//   takes the completion of eventfd 1
//   reading_ &= ~slot of eventfd 1
//                                        is_watching(2)? yes
//                                        is_watching_kept()? no: reads eventfd 1 again
//
//   forbidden: the end of the older read is taken for that of the newer one, or the newer read is not submitted because
//              the ring still has the older one. reading_ has a bit for each slot.
#include <array>
#include <cerrno>
#include <tuple>

#include "engine_uring.hpp"
#include "user_data.hpp"

namespace doorbell::aio {

bool engine_uring::has_watch(std::uint32_t serial) noexcept {
  const base::mutex_lock held{submission_lock_};
  return is_watching(serial);
}

//   submitter                            another submitter
//   lock; sets the bit in reading_
//   the ring takes no entry:
//     clears the bit; unlock
//                                        lock; the bit ? no: tries itself
//
//   forbidden: the other submitter sees the bit before the ring has refused the entry. It would start a request whose
//              completion nothing announces.
bool engine_uring::watch(int eventfd, std::uint32_t serial) noexcept {
  const base::mutex_lock held{submission_lock_};
  if (is_watching(serial)) return true;
  // The slot still has the read of a much older eventfd, whose serial is lower by a multiple of `slots`.
  if ((reading_.load(base::memory_order_acquire) & bit_of(serial)) != 0) return cancel_read(serial);
  if (watched_serial_.exchange(serial, base::memory_order_acq_rel) != serial) keep(eventfd, serial);
  auto* const entry = next_entry();
  if (entry == nullptr) return false;
  io_uring_prep_read(entry, eventfd, &watched_count_, sizeof watched_count_, 0);
  return submit_read(entry, serial);
}

// Checks the ring's own number first: the program may have closed it, and use it for a ring of its own.
void engine_uring::keep(int eventfd, std::uint32_t serial) noexcept {
  kept_.fetch_and(~bit_of(serial), base::memory_order_release);
  if (!descriptor_.is_ours() || !make_file_table()) return;
  if (io_uring_register_files_update(&ring_, serial % slots, &eventfd, 1) == 1)
    kept_.fetch_or(bit_of(serial), base::memory_order_release);
}

// Tries once. Linux before 5.13, which has no RSRC_TAGS, would wait in this call until the ring has no requests.
// Not io_uring_register_files(3), which raises RLIMIT_NOFILE if that is lower than the size of the table.
// @return whether the ring has the table.
bool engine_uring::make_file_table() noexcept {
  if (has_tried_file_table_) return has_file_table_;
  has_tried_file_table_ = true;
  if ((ring_.features & IORING_FEAT_RSRC_TAGS) == 0) return false;
  std::array<int, slots> none{};
  none.fill(-1);
  const auto ring = static_cast<unsigned>(descriptor_.get());
  has_file_table_ = io_uring_register(ring, IORING_REGISTER_FILES, none.data(), none.size()) == 0;
  return has_file_table_;
}

void engine_uring::watch_kept(std::uint32_t newest) noexcept {
  const base::mutex_lock held{submission_lock_};
  for (std::uint32_t slot = 0; slot < slots && !is_watching_kept(newest); ++slot) {
    const auto others = kept_.load(base::memory_order_acquire) & ~reading_.load(base::memory_order_acquire);
    if (slot == newest % slots || (others & bit_of(slot)) == 0) continue;
    auto* const entry = next_entry();
    if (entry == nullptr) return;
    io_uring_prep_read(entry, static_cast<int>(slot), &watched_count_, sizeof watched_count_, 0);
    entry->flags |= IOSQE_FIXED_FILE;
    std::ignore = submit_read(entry, slot);
  }
}

// The bit is set first: the read may end, and another thread may reap it, before submit() returns.
bool engine_uring::submit_read(io_uring_sqe* entry, std::uint32_t serial) noexcept {
  io_uring_sqe_set_data64(entry, owner_of_watch(serial % slots));
  reading_.fetch_or(bit_of(serial), base::memory_order_acq_rel);
  if (submit(entry)) return true;
  reading_.fetch_and(~bit_of(serial), base::memory_order_release);
  return false;
}

bool engine_uring::cancel_read(std::uint32_t serial) noexcept {
  kept_.fetch_and(~bit_of(serial), base::memory_order_release);
  auto* const entry = next_entry();
  if (entry == nullptr) return false;
  io_uring_prep_cancel64(entry, owner_of_watch(serial % slots), 0);
  io_uring_sqe_set_data64(entry, of_nobody);
  return submit(entry);
}

// A kept file that cannot be read is not tried again, unless the submitting thread has ended.
void engine_uring::end_read(std::uint32_t slot, int res) noexcept {
  if (res < 0 && res != -ECANCELED && res != -EINTR) kept_.fetch_and(~bit_of(slot), base::memory_order_release);
  reading_.fetch_and(~bit_of(slot), base::memory_order_release);
}

}  // namespace doorbell::aio
