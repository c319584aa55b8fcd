// SPDX-License-Identifier: Apache-2.0
#include "engine_uring.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <new>
#include <thread>
#include <tuple>

#include <doorbell/base/unique_fd.hpp>

#include "../../request/operation.hpp"
#include "../../system/tsan_annotations.hpp"
#include "user_data.hpp"

namespace doorbell::aio {
namespace {

// The size of one batch of start(): a larger queue would cost memory that the kernel may charge to RLIMIT_MEMLOCK, and
// save no system call.
constexpr unsigned max_submission_entries = 64;
constexpr unsigned max_completion_entries = 65536;

constexpr std::size_t reap_batch = 64;
constexpr std::size_t start_batch = max_submission_entries;

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
