// SPDX-License-Identifier: Apache-2.0
#include "engine_uring.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <new>
#include <thread>
#include <tuple>
#include <utility>

#include <doorbell/base/unique_fd.hpp>

#include "kernel_hop.hpp"
#include "operation.hpp"

namespace doorbell::aio {
namespace {

// What a completion belongs to, where it is no request's address.
constexpr std::uint64_t of_nobody = 0;
constexpr std::uint64_t of_wake = 1;

constexpr unsigned max_submission_entries = 1024;
constexpr unsigned max_completion_entries = 65536;
constexpr std::uint64_t max_bytes = 0x7ffff000;  // what the kernel moves at once, MAX_RW_COUNT

constexpr std::size_t reap_batch = 64;
constexpr std::size_t start_batch = 64;

void* address(const iocb_abi& what) noexcept { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(what.buf)); }

void prepare_transfer(io_uring_sqe* entry, int operation, const iocb_abi& what, const void* buffer,
                      std::uint64_t length) noexcept {
  io_uring_prep_rw(operation, entry, what.fildes, buffer, static_cast<unsigned>(length),
                   static_cast<std::uint64_t>(what.offset));
  entry->rw_flags = what.rw_flags;
  if (what.flags & iocb_abi::flag_ioprio) entry->ioprio = static_cast<std::uint16_t>(what.reqprio);
}

void prepare_plain(io_uring_sqe* entry, int operation, const iocb_abi& what) noexcept {
  prepare_transfer(entry, operation, what, address(what), std::min(what.nbytes, max_bytes));
}

void prepare_vectored(io_uring_sqe* entry, int operation, const request& asked) noexcept {
  prepare_transfer(entry, operation, asked.what, asked.buffers().data(), asked.what.nbytes);
}

void prepare(io_uring_sqe* entry, request& asked) noexcept {
  const auto& what = asked.what;
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
  io_uring_sqe_set_data(entry, &asked);
}

void prepare_nothing(io_uring_sqe* entry, std::uint64_t owner) noexcept {
  io_uring_prep_nop(entry);
  io_uring_sqe_set_data64(entry, owner);
}

// Sleeps in the ring itself.
int wait_in_ring(const io_uring& ring, const timespec* left) noexcept {
  static_assert(sizeof(timespec) == sizeof(__kernel_timespec), "the kernel reads the one as the other");
  io_uring_getevents_arg argument{};
  argument.ts = reinterpret_cast<std::uintptr_t>(left);
  return io_uring_enter2(static_cast<unsigned>(ring.ring_fd), 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                         reinterpret_cast<sigset_t*>(&argument), sizeof argument);
}

// The same for kernels whose io_uring_enter takes no timeout (before 5.11).
int wait_at_descriptor(const io_uring& ring, const timespec* left) noexcept {
  pollfd readable{.fd = ring.ring_fd, .events = POLLIN, .revents = 0};
  const int ready = ::ppoll(&readable, 1, left, nullptr);
  if (ready < 0) return -errno;
  return ready == 0 ? -ETIME : 0;
}

}  // namespace

std::unique_ptr<engine_uring> engine_uring::make(unsigned in_flight, std::error_code& ec) noexcept {
  std::unique_ptr<engine_uring> made{new (std::nothrow) engine_uring};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return nullptr;
  }
  // One more completion than requests for a wake. Were there ever more, the kernel keeps what does not fit.
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  parameters.cq_entries = std::min(std::bit_ceil(in_flight + 1), max_completion_entries);
  const auto entries = std::min(std::bit_ceil(in_flight), max_submission_entries);
  made->ring_.ring_fd = -1;
  const int error = io_uring_queue_init_params(entries, &made->ring_, &parameters);
  if (error < 0) {
    made->ring_.ring_fd = -1;
    ec.assign(-error, std::system_category());
    return nullptr;
  }
  kernel_hop::mapped();
  std::ignore = io_uring_ring_dontfork(&made->ring_);
  return made;
}

engine_uring::~engine_uring() {
  if (ring_.ring_fd < 0) return;
  kernel_hop::unmap();
  // Not by liburing, which makes its system calls itself: ThreadSanitizer would take the next file of that number for this one.
  const base::unique_fd closed_after{std::exchange(ring_.ring_fd, -1)};
  io_uring_queue_exit(&ring_);
}

// Hands the queue to the kernel, until it is empty or the kernel will take no more now.
// @return how many entries it left.
unsigned engine_uring::flush() noexcept {
  while (io_uring_sq_ready(&ring_) > 0) {
    const int taken = io_uring_submit(&ring_);
    if (taken <= 0 && taken != -EINTR) break;
  }
  return io_uring_sq_ready(&ring_);
}

io_uring_sqe* engine_uring::next_entry() noexcept {
  auto* entry = io_uring_get_sqe(&ring_);
  if (entry != nullptr || flush() > 0) return entry;
  return io_uring_get_sqe(&ring_);
}

std::size_t engine_uring::start(std::span<request* const> requests) noexcept {
  const base::mutex_lock held{submission_lock_};
  std::size_t started = 0;
  while (started < requests.size()) {
    const auto now = start_some(requests.subspan(started));
    if (now == 0) break;
    started += now;
  }
  return started;
}

// As many as the queue holds. An entry that the kernel does not take (no memory, too many completions not reaped) cannot
// be withdrawn: it is made to do nothing, and goes with the next flush.
std::size_t engine_uring::start_some(std::span<request* const> requests) noexcept {
  std::array<io_uring_sqe*, start_batch> entries;
  std::size_t queued = 0;
  while (queued < requests.size() && queued < entries.size()) {
    auto* const entry = queued == 0 ? next_entry() : io_uring_get_sqe(&ring_);
    if (entry == nullptr) break;
    prepare(entry, *requests[queued]);
    kernel_hop::depart(requests[queued]);
    entries[queued++] = entry;
  }
  const std::size_t left = std::min<std::size_t>(flush(), queued);
  for (auto at = queued - left; at < queued; ++at) prepare_nothing(entries[at], of_nobody);
  return queued - left;
}

// The same for the one entry just prepared. Left as it is, it would be submitted later, when the request it cancels may
// have ended, and another one be at that address.
bool engine_uring::submit(io_uring_sqe* entry) noexcept {
  if (flush() == 0) return true;
  prepare_nothing(entry, of_nobody);
  return false;
}

bool engine_uring::cancel(request& started) noexcept {
  const base::mutex_lock held{submission_lock_};
  auto* const entry = next_entry();
  if (entry == nullptr) return false;
  io_uring_prep_cancel(entry, &started, 0);
  io_uring_sqe_set_data64(entry, of_nobody);
  return submit(entry);
}

// Insists, as long as there is somebody to wake: no one else would. What keeps the kernel from taking the entry is either
// passing, or completions, with which the sleeper does not sleep.
void engine_uring::wake() noexcept {
  while (waiting() && !try_wake()) std::this_thread::yield();
}

bool engine_uring::try_wake() noexcept {
  const base::mutex_lock held{submission_lock_};
  auto* const entry = next_entry();
  if (entry == nullptr) return false;
  prepare_nothing(entry, of_wake);
  return submit(entry);
}

// A wake is for the thread that waits: as long as one does, it stays in the queue, and so do those behind it, which that
// thread, now awake, will reap. Taken by another, it could leave the queue empty before the sleeper has looked.
std::size_t engine_uring::reap(std::span<completion> completions) noexcept {
  const base::mutex_lock held{completion_lock_};
  std::size_t filled = 0;
  while (filled == 0 && reap_some(completions, filled) > 0) {
  }
  return filled;
}

// @return how many entries it consumed, those that are no request's among them.
unsigned engine_uring::reap_some(std::span<completion> completions, std::size_t& filled) noexcept {
  std::array<io_uring_cqe*, reap_batch> entries;
  const auto wanted = static_cast<unsigned>(std::min(completions.size(), entries.size()));
  const auto there = io_uring_peek_batch_cqe(&ring_, entries.data(), wanted);
  unsigned consumed = 0;
  for (; consumed < there; ++consumed) {
    const auto owner = entries[consumed]->user_data;
    if (owner == of_wake && waiting()) break;
    if (owner == of_wake || owner == of_nobody) continue;
    auto* const done = reinterpret_cast<request*>(static_cast<std::uintptr_t>(owner));
    kernel_hop::arrive(done);
    completions[filled++] = {done, entries[consumed]->res};
  }
  io_uring_cq_advance(&ring_, consumed);
  return consumed;
}

// The queues themselves were not inherited (io_uring_ring_dontfork).
void engine_uring::abandon_in_child() noexcept { ::close(ring_.ring_fd); }

engine::wait_result engine_uring::wait(base::deadline until) noexcept {
  timespec left{};
  if (until) left = base::time_left(*until);
  const auto* const timeout = until ? &left : nullptr;
  const int answer =
      ring_.features & IORING_FEAT_EXT_ARG ? wait_in_ring(ring_, timeout) : wait_at_descriptor(ring_, timeout);
  if (answer == -EINTR) return wait_result::interrupted;
  return answer == -ETIME ? wait_result::timed_out : wait_result::ready;
}

}  // namespace doorbell::aio
