// SPDX-License-Identifier: Apache-2.0
#include "engine_uring.hpp"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <new>
#include <thread>
#include <tuple>

#include <doorbell/base/unique_fd.hpp>

#include "../../request/operation.hpp"
#include "../../system/reaper_thread.hpp"
#include "../../system/tsan_annotations.hpp"

namespace doorbell::aio {
namespace {

// The user_data of entries that belong to no request: no address is so low. The value of a watch also
// contains its slot.
constexpr std::uint64_t of_nobody = 0;
constexpr std::uint64_t of_wake = 1;
constexpr std::uint64_t of_watch = 2;
// Set in the user_data, a request's address, if the request ends by itself.
constexpr std::uint64_t of_file = 4;
// Neither of_watch nor of_file.
constexpr std::uint64_t of_announcement = 8;
static_assert(alignof(request) > of_file);
constexpr unsigned slot_shift = 3;
constexpr std::uint64_t lowest_request = 4096;

constexpr bool is_of_request(std::uint64_t owner) noexcept { return owner >= lowest_request; }

constexpr bool is_of_watch(std::uint64_t owner) noexcept { return !is_of_request(owner) && (owner & of_watch) != 0; }

static_assert(!is_of_watch(of_announcement) && (of_announcement & of_file) == 0);

constexpr std::uint64_t owner_of_watch(std::uint32_t slot) noexcept {
  return of_watch | std::uint64_t{slot} << slot_shift;
}

constexpr std::uint32_t slot_of_watch(std::uint64_t owner) noexcept {
  return static_cast<std::uint32_t>(owner >> slot_shift);
}

// The size of one batch of start(): a larger queue would cost memory that the kernel may charge to RLIMIT_MEMLOCK, and
// save no system call.
constexpr unsigned max_submission_entries = 64;
constexpr unsigned max_completion_entries = 65536;

constexpr std::size_t reap_batch = 64;
constexpr std::size_t start_batch = max_submission_entries;

std::uint64_t owner_of(const request& started) noexcept {
  return reinterpret_cast<std::uintptr_t>(&started) | (started.ends_by_itself ? of_file : 0);
}

request* request_of(std::uint64_t owner) noexcept {
  return reinterpret_cast<request*>(static_cast<std::uintptr_t>(owner & ~of_file));
}

void* address(const iocb_abi& what) noexcept { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(what.buf)); }

void prepare_transfer(io_uring_sqe* entry, int operation, const iocb_abi& what, const void* buffer,
                      std::uint64_t length) noexcept {
  io_uring_prep_rw(operation, entry, what.fildes, buffer, static_cast<unsigned>(length),
                   static_cast<std::uint64_t>(what.offset));
  entry->rw_flags = what.rw_flags;
  if (what.flags & iocb_abi::flag_ioprio) entry->ioprio = static_cast<std::uint16_t>(what.reqprio);
}

void prepare_plain(io_uring_sqe* entry, int operation, const iocb_abi& what) noexcept {
  prepare_transfer(entry, operation, what, address(what), std::min(what.nbytes, max_transfer));
}

void prepare_vectored(io_uring_sqe* entry, int operation, const request& asked) noexcept {
  prepare_transfer(entry, operation, asked.iocb, asked.buffers().data(), asked.iocb.nbytes);
}

void prepare(io_uring_sqe* entry, request& asked) noexcept {
  const auto& what = asked.iocb;
  switch (operation_of(what)) {
    case opcode::pread:
      prepare_plain(entry, IORING_OP_READ, what);
      break;
    case opcode::pwrite:
      prepare_plain(entry, IORING_OP_WRITE, what);
      break;
    case opcode::preadv:
      prepare_vectored(entry, IORING_OP_READV, asked);
      break;
    case opcode::pwritev:
      prepare_vectored(entry, IORING_OP_WRITEV, asked);
      break;
    case opcode::fsync:
      io_uring_prep_fsync(entry, what.fildes, 0);
      break;
    case opcode::fdsync:
      io_uring_prep_fsync(entry, what.fildes, IORING_FSYNC_DATASYNC);
      break;
    case opcode::poll:
      io_uring_prep_poll_add(entry, what.fildes, static_cast<unsigned>(what.buf));
      break;
  }
  io_uring_sqe_set_data64(entry, owner_of(asked));
}

// io_uring also reports RDHUP to polls that do not ask for it.
std::int64_t result_of(const request& done, int res) noexcept {
  if (!is_poll(done.iocb) || res <= 0) return res;
  return res & static_cast<std::int64_t>(done.iocb.buf | POLLERR | POLLHUP);
}

void prepare_nothing(io_uring_sqe* entry, std::uint64_t owner) noexcept {
  io_uring_prep_nop(entry);
  io_uring_sqe_set_data64(entry, owner);
}

int set_up(io_uring& ring, unsigned entries, unsigned completions) noexcept {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  parameters.cq_entries = completions;
  return io_uring_queue_init_params(entries, &ring, &parameters);
}

}  // namespace

std::unique_ptr<engine_uring> engine_uring::make(unsigned in_flight, std::error_code& ec) noexcept {
  std::unique_ptr<engine_uring> made{new (std::nothrow) engine_uring};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return nullptr;
  }
  // One completion more than requests, for a wakeup; reads of watch() have completions, too. The kernel keeps
  // completions that do not fit, so a process that has little memory for rings gets a smaller queue.
  const auto completions = std::min(std::bit_ceil(in_flight + 1), max_completion_entries);
  const auto entries = std::min(std::bit_ceil(in_flight), max_submission_entries);
  int error = set_up(made->ring_, entries, completions);
  if (error == -ENOMEM && completions > 2 * entries) error = set_up(made->ring_, entries, 2 * entries);
  if (error < 0) {
    made->ring_.ring_fd = -1;
    ec.assign(-error, std::system_category());
    return nullptr;
  }
  tsan_annotations::mapped();
  made->descriptor_ = base::private_fd{base::unique_fd{made->ring_.ring_fd}};
  made->ring_.ring_fd = made->ring_.enter_ring_fd = made->descriptor_.get();
  // A sandbox may allow io_uring_setup(2) and refuse io_uring_enter(2).
  error = io_uring_enter(static_cast<unsigned>(made->ring_.ring_fd), 0, 0, 0, nullptr);
  if (const auto told = classify(error); told == uring_answer::refused || told == uring_answer::gone) {
    ec.assign(-error, std::system_category());
    return nullptr;
  }
  std::ignore = io_uring_ring_dontfork(&made->ring_);
  return made;
}

engine_uring::~engine_uring() { tear_down(); }

void engine_uring::tear_down() noexcept {
  if (ring_.ring_fd < 0) return;
  tsan_annotations::unmap();
  // liburing must not close the descriptor: it would close whichever file the number refers to now, and by a system
  // call that ThreadSanitizer does not see.
  ring_.ring_fd = -1;
  io_uring_queue_exit(&ring_);
  descriptor_.reset();
}

// Submits the queue, until it is empty or the kernel takes no more entries now.
// @return the number of entries that are left.
unsigned engine_uring::flush() noexcept {
  while (io_uring_sq_ready(&ring_) > 0 && works()) {
    const int taken = io_uring_submit(&ring_);
    if (taken > 0 || taken == -EINTR) continue;
    note(taken);
    break;
  }
  return io_uring_sq_ready(&ring_);
}

uring_answer engine_uring::note(int answer) noexcept {
  const auto told = classify(answer);
  if (told == uring_answer::refused || told == uring_answer::gone) condition_.store(told, base::memory_order_relaxed);
  return told;
}

// Each entry that the kernel has taken from the submission queue produces one completion.
bool engine_uring::has_requests() const noexcept {
  if (ring_.ring_fd < 0) return false;
  const auto taken = base::atomic_ref<unsigned>{*ring_.sq.khead}.load(base::memory_order_acquire);
  const auto reaped = base::atomic_ref<unsigned>{*ring_.cq.khead}.load(base::memory_order_acquire);
  const unsigned announcements = announcement_.load(base::memory_order_acquire) == announcement::made ? 1 : 0;
  const auto reads = static_cast<unsigned>(std::popcount(reading_.load(base::memory_order_acquire)));
  return taken - reaped > reads + announcements;
}

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

// Checks the number first: the program may have closed it, and use it for a ring of its own.
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

io_uring_sqe* engine_uring::next_entry() noexcept {
  auto* entry = io_uring_get_sqe(&ring_);
  if (entry != nullptr || flush() > 0) return entry;
  return io_uring_get_sqe(&ring_);
}

std::size_t engine_uring::start(std::span<request* const> requests) noexcept {
  const base::mutex_lock held{submission_lock_};
  std::size_t started = 0;
  while (started < requests.size() && works()) {
    const auto now = start_some(requests.subspan(started));
    if (now == 0) break;
    started += now;
  }
  return started;
}

// Starts as many requests as the queue holds. An entry that the kernel does not take (no memory, too many completions
// not reaped) cannot be withdrawn. It is changed to a no-op, which the next flush submits.
std::size_t engine_uring::start_some(std::span<request* const> requests) noexcept {
  std::array<io_uring_sqe*, start_batch> entries;
  std::size_t queued = 0;
  while (queued < requests.size() && queued < entries.size()) {
    auto* const entry = queued == 0 ? next_entry() : io_uring_get_sqe(&ring_);
    if (entry == nullptr) break;
    prepare(entry, *requests[queued]);
    tsan_annotations::happens_before(requests[queued]);
    entries[queued++] = entry;
  }
  const std::size_t left = std::min<std::size_t>(flush(), queued);
  for (auto at = queued - left; at < queued; ++at) prepare_nothing(entries[at], of_nobody);
  return queued - left;
}

// The same for the one entry that has just been prepared. If it was left unchanged, it would be submitted later, when
// the request that it cancels may have ended and another request may have its address.
bool engine_uring::submit(io_uring_sqe* entry) noexcept {
  if (flush() == 0) return true;
  prepare_nothing(entry, of_nobody);
  return false;
}

engine::cancel_result engine_uring::cancel(request& started) noexcept {
  const base::mutex_lock held{submission_lock_};
  if (auto* const entry = next_entry()) {
    io_uring_prep_cancel64(entry, owner_of(started), 0);
    io_uring_sqe_set_data64(entry, of_nobody);
    if (submit(entry)) return cancel_result::asked;
  }
  return works() ? cancel_result::try_again : cancel_result::impossible;
}

// Retries while a thread sleeps, because nothing else would wake that thread. The kernel refuses the entry only for a
// short time, or while there are completions, which end the sleep. If the ring has stopped working, the sleeper notices
// by itself.
void engine_uring::wake() noexcept {
  while (waiting() && works() && !try_wake()) std::this_thread::yield();
}

bool engine_uring::try_wake() noexcept {
  const base::mutex_lock held{submission_lock_};
  auto* const entry = next_entry();
  if (entry == nullptr) return false;
  prepare_nothing(entry, of_wake);
  return submit(entry);
}

// A wakeup is for the thread that waits. As long as a thread waits here, the wakeup and the completions behind it stay
// in the queue, and the woken thread reaps them. If another thread took the wakeup, the queue could be empty before the
// sleeper has seen it.
std::size_t engine_uring::reap(std::span<completion> completions) noexcept {
  std::size_t filled = 0;
  {
    const base::mutex_lock held{completion_lock_};
    if (ring_.ring_fd < 0) return 0;
    while (filled == 0 && reap_some(completions, filled) > 0) {
    }
  }
  if (owes_announcement()) [[unlikely]]
    announce_again();
  return filled;
}

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

// Reads the completions that have not been reaped. If another thread reaps concurrently, the kernel may have replaced
// some of the entries. Then this counts none, and the caller tries again.
engine::file_io engine_uring::file_io_done() const noexcept {
  const base::atomic_ref<unsigned> head{*ring_.cq.khead};
  const base::atomic_ref<unsigned> tail{*ring_.cq.ktail};
  const base::atomic_ref<unsigned> flags{*ring_.sq.kflags};
  file_io found{.must_be_reaped = (flags.load(base::memory_order_relaxed) & IORING_SQ_CQ_OVERFLOW) != 0};
  const auto first = head.load(base::memory_order_seq_cst);
  // Acquire pairs with the kernel's release of the entries.
  for (auto at = first, end = tail.load(base::memory_order_acquire); at != end; ++at) {
    const auto& entry = ring_.cq.cqes[at & *ring_.cq.kring_mask];
    const base::atomic_ref<__u64> owner{const_cast<__u64&>(entry.user_data)};
    const base::atomic_ref<__s32> res{const_cast<__s32&>(entry.res)};
    if (!(owner.load(base::memory_order_relaxed) & of_file)) continue;
    const auto answer = res.load(base::memory_order_relaxed);
    if (answer == -ECANCELED || answer == -EINTR)
      found.must_be_reaped = true;
    else
      ++found.carried_out;
  }
  if (head.load(base::memory_order_seq_cst) != first) found.carried_out = 0;
  return found;
}

// @return the number of consumed entries, including those that belong to no request.
unsigned engine_uring::reap_some(std::span<completion> completions, std::size_t& filled) noexcept {
  std::array<io_uring_cqe*, reap_batch> entries;
  const auto wanted = static_cast<unsigned>(std::min(completions.size(), entries.size()));
  const auto there = io_uring_peek_batch_cqe(&ring_, entries.data(), wanted);
  unsigned consumed = 0;
  for (; consumed < there; ++consumed) {
    const auto owner = entries[consumed]->user_data;
    if (owner == of_wake && waiting() && !sleeper_is_elsewhere_.load(base::memory_order_seq_cst)) break;
    if (owner == of_announcement && !take_announcement(io_uring_cq_ready(&ring_) - consumed - 1)) break;
    if (is_of_watch(owner)) end_read(slot_of_watch(owner), entries[consumed]->res);
    if (!is_of_request(owner)) continue;
    auto* const done = request_of(owner);
    tsan_annotations::happens_after(done);
    done->answered = request_observer::answered_by::io_uring;
    completions[filled++] = {done, result_of(*done, entries[consumed]->res)};
  }
  io_uring_cq_advance(&ring_, consumed);
  return consumed;
}

int engine_uring::descriptor() const noexcept {
  if (!works()) return -1;
  if (descriptor_.is_ours()) return descriptor_.get();
  condition_.store(uring_answer::gone, base::memory_order_relaxed);
  return -1;
}

// The child has not inherited the queues (io_uring_ring_dontfork).
void engine_uring::abandon_in_child() noexcept { descriptor_.reset(); }

// The kernel cancels the requests of a ring when neither a descriptor nor a mapping refers to the ring any more.
void engine_uring::give_up() noexcept { tear_down(); }

}  // namespace doorbell::aio
