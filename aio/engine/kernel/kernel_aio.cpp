// SPDX-License-Identifier: Apache-2.0
#include "kernel_aio.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <tuple>
#include <utility>

#include "../../request/operation.hpp"
#include "../../system/kernel_call.hpp"
#include "../../system/kernel_context.hpp"
#include "../../system/tsan_annotations.hpp"

namespace doorbell::aio {
namespace {

using namespace std::chrono_literals;
using kernel_context::handle;
using kernel_context::ring_of;

// Sleeps until there is an event, which stays in the ring. @return -1 and EFAULT then; 0 after the timeout. Prefers
// io_pgetevents(2): the kernel restarts it after an interruption for which no handler has run, such as the end of an
// io_uring ring that the thread has used. A sandbox may allow only io_getevents(2).
long sleep_for_event(handle context, timespec* timeout) noexcept {
  constexpr auto nowhere = ~std::uintptr_t{0xfff};  // beyond the addresses of programs
  const auto answer = kernel_call(SYS_io_pgetevents, context, 1L, 1L, nowhere, timeout, 0L);
  const bool is_refused = answer < 0 && (errno == ENOSYS || errno == EPERM || errno == EACCES);
  return is_refused ? kernel_call(SYS_io_getevents, context, 1L, 1L, nowhere, timeout) : answer;
}
void io_cancel(handle context, iocb_abi& submitted) noexcept {
  io_event ignored{};
  kernel_call(SYS_io_cancel, context, &submitted, &ignored);
}

// Whether the system allows io_cancel(2). The kernel answers EINVAL, because there is no such request.
bool can_cancel(handle context) noexcept {
  iocb_abi none{};
  io_cancel(context, none);
  return errno == EINVAL;
}

// Other threads may read and write entries while one thread moves the head.
base::atomic_ref<void*> data_of(handle context, unsigned at) noexcept {
  auto* const events = reinterpret_cast<io_event*>(context + sizeof(ring_header));
  return base::atomic_ref<void*>{events[at].data};
}

constexpr unsigned largest = 1024;
constexpr std::chrono::seconds retry_after{1};
constexpr std::chrono::nanoseconds nap_time = 1ms;
constexpr std::chrono::nanoseconds patience = 10ms;  // the longest wait for a cancelled poll

/// Contexts without requests, for the next kernel_aio that needs one. They hold nothing that a destructor must release.
constinit std::array<base::atomic<handle>, 4> spares{};

handle take_spare() noexcept {
  for (auto& each : spares)
    if (const auto found = each.exchange(0, base::memory_order_acq_rel)) return found;
  return 0;
}

bool keep_as_spare(handle context) noexcept {
  return std::ranges::any_of(spares, [&](auto& each) {
    handle none = 0;
    return each.compare_exchange_strong(none, context, base::memory_order_acq_rel);
  });
}

/// The data of the polls that wake() cancels: odd numbers, because the addresses of requests are even.
base::atomic<std::uintptr_t> last_alarm{1};

void* name_of_alarm() noexcept { return reinterpret_cast<void*>(last_alarm.fetch_add(2, base::memory_order_relaxed)); }
bool is_alarm(const void* data) noexcept { return reinterpret_cast<std::uintptr_t>(data) % 2 != 0; }

timespec to_timespec(std::chrono::nanoseconds time) noexcept {
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
  return {.tv_sec = static_cast<time_t>(whole.count()), .tv_nsec = static_cast<long>((time - whole).count())};
}

// @return the eventfd that the kernel signals, or -1. If the request has been checked, the number in its iocb may refer
// to another file by now.
int eventfd_for(const request& asked, int notify_fd) noexcept {
  if (!asked.kernel_may_signal) return notify_fd;
  return asked.is_left_to_kernel ? static_cast<int>(asked.iocb.resfd) : asked.target.kernel_eventfd->descriptor();
}

// Copies the iocb, with the address of the request as its data.
void prepare(iocb_abi& made, request& asked, int notify_fd) noexcept {
  made = asked.iocb;
  made.data = &asked;
  made.key = 0;
  made.flags = asked.iocb.flags & iocb_abi::flag_ioprio;
  asked.is_signalled_by_kernel = asked.kernel_may_signal;
  asked.is_unnotified = asked.kernel_may_signal || notify_fd < 0;
  if (const int signalled = eventfd_for(asked, notify_fd); signalled >= 0 || asked.kernel_may_signal) {
    made.flags |= iocb_abi::flag_resfd;
    made.resfd = static_cast<std::uint32_t>(signalled);
  }
  // An unchecked request has the program's list of buffers, which the kernel copies.
  if (is_vectored(asked.iocb) && !asked.is_left_to_kernel)
    made.buf = reinterpret_cast<std::uintptr_t>(asked.buffers().data());
}

}  // namespace

kernel_aio::kernel_aio(unsigned in_flight) noexcept : wanted_{in_flight} {
  alarm_.data = name_of_alarm();
  alarm_.lio_opcode = static_cast<std::uint16_t>(opcode::poll);
  // equivalent fault (assignment): the kernel adds ERR and HUP, so a poll for no event can be cancelled as well
  alarm_.buf = POLLPRI;
}

// If the cancelled alarm comes late, the next owner of the context ignores it.
kernel_aio::~kernel_aio() {
  const auto context = context_.load(base::memory_order_acquire);
  if (context == 0) return;
  const base::mutex_lock held{creation_lock_};
  if (is_spare_size_) {
    if (is_armed()) {
      io_cancel(context, alarm_);
      std::ignore = wait(patience);
      end_sleep();
      std::ignore = take({});
    }
    if (keep_as_spare(context)) return;
  }
  kernel_context::destroy(context);
}

void kernel_aio::forget_spares_in_child() noexcept {
  for (auto& each : spares) each.store(0, base::memory_order_relaxed);
}

// @return 0: there is no context now.
kernel_aio::handle kernel_aio::context() noexcept {
  if (const auto known = context_.load(base::memory_order_acquire)) return known;
  if (kernel_context::is_refused()) return 0;
  const base::mutex_lock held{creation_lock_};
  if (const auto known = context_.load(base::memory_order_relaxed)) return known;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_attempt_) return 0;
  is_spare_size_ = wanted_ <= usual_size;
  auto made = is_spare_size_ ? take_spare() : handle{0};
  if (made == 0) made = kernel_context::create(is_spare_size_ ? usual_size : std::min(wanted_, largest));
  if (made == 0 && !kernel_context::note_refusal()) next_attempt_ = now + retry_after;
  context_.store(made, base::memory_order_release);
  return made;
}

// Raises the count of requests first: a thread that is about to sleep sees the count, or the caller of start() sees
// that thread.
std::size_t kernel_aio::start(std::span<request* const> requests, int notify_fd) noexcept {
  const auto first_other = std::ranges::find_if_not(requests, [](const auto* each) { return can_take(*each); });
  const auto count = std::min(static_cast<std::size_t>(first_other - requests.begin()), batch);
  const auto context = count > 0 ? this->context() : 0;
  // equivalent fault (dropped): io_submit(2) to context 0 starts nothing
  if (context == 0) return 0;
  std::array<iocb_abi, batch> iocbs;
  std::array<iocb_abi*, batch> pointers;
  for (std::size_t at = 0; at < count; ++at) {
    prepare(iocbs[at], *requests[at], notify_fd);
    pointers[at] = &iocbs[at];
    tsan_annotations::happens_before(requests[at]);
  }
  in_flight_.fetch_add(static_cast<std::uint32_t>(count), base::memory_order_seq_cst);
  const auto silent = std::ranges::count(requests.first(count), true, &request::is_unnotified);
  if (silent > 0) unnotified_.fetch_add(static_cast<std::uint32_t>(silent), base::memory_order_seq_cst);
  const auto answer = kernel_context::submit(context, std::span{pointers}.first(count));
  if (answer < 0) kernel_context::note_refusal();
  const auto started = static_cast<std::size_t>(std::max(answer, 0L));
  in_flight_.fetch_sub(static_cast<std::uint32_t>(count - started), base::memory_order_relaxed);
  for (auto* each : requests.subspan(started, count - started)) {
    each->is_signalled_by_kernel = false;
    if (std::exchange(each->is_unnotified, false)) unnotified_.fetch_sub(1, base::memory_order_relaxed);
  }
  return started;
}

bool kernel_aio::has_completions() const noexcept {
  const auto context = context_.load(base::memory_order_acquire);
  if (context == 0) return false;
  auto& ring = ring_of(context);
  const auto head = base::atomic_ref<unsigned>{ring.head}.load(base::memory_order_relaxed);
  return head != base::atomic_ref<unsigned>{ring.tail}.load(base::memory_order_acquire);
}

// The kernel may overwrite events that another thread fetches meanwhile. In that case this function counts none.
std::size_t kernel_aio::carried_out() const noexcept {
  const auto before = takes_.load(base::memory_order_seq_cst);
  const auto context = context_.load(base::memory_order_acquire);
  if (context == 0 || before % 2 != 0) return 0;
  auto& ring = ring_of(context);
  const auto tail = base::atomic_ref<unsigned>{ring.tail}.load(base::memory_order_acquire) % ring.nr;
  std::size_t count = 0;
  for (auto at = base::atomic_ref<unsigned>{ring.head}.load(base::memory_order_acquire) % ring.nr; at != tail;
       at = (at + 1) % ring.nr)
    if (!is_alarm(data_of(context, at).load(base::memory_order_acquire))) ++count;
  return takes_.load(base::memory_order_seq_cst) == before ? count : 0;
}

// Acquire pairs with the kernel's store of the tail. Release lets the kernel use the entries again.
std::size_t kernel_aio::take(std::span<completion> completions) noexcept {
  if (!has_completions()) return 0;
  const auto context = context_.load(base::memory_order_acquire);
  auto& ring = ring_of(context);
  const auto* const events = reinterpret_cast<const io_event*>(context + sizeof ring);
  const base::atomic_ref<unsigned> head{ring.head};
  const auto tail = base::atomic_ref<unsigned>{ring.tail}.load(base::memory_order_acquire) % ring.nr;
  auto at = head.load(base::memory_order_relaxed) % ring.nr;
  takes_.fetch_add(1, base::memory_order_seq_cst);
  std::size_t filled = 0;
  bool must_stay = false;
  auto last = at;
  for (; at != tail; at = (at + 1) % ring.nr) {
    auto* const data = data_of(context, at).load(base::memory_order_relaxed);
    if (!is_alarm(data) && filled == completions.size()) break;
    last = at;
    if (is_alarm(data)) {
      // Any other alarm was submitted by an earlier owner of the context.
      must_stay = must_stay || (data == alarm_.data && !is_used_up());
      continue;
    }
    auto* const done = static_cast<request*>(data);
    tsan_annotations::happens_after(done);
    if (done->is_unnotified) unnotified_.fetch_sub(1, base::memory_order_relaxed);
    completions[filled++] = {done, events[at].res};
  }
  // The alarm takes the place of the last entry, which has been fetched.
  if (must_stay) {
    data_of(context, last).store(alarm_.data, base::memory_order_relaxed);
    at = last;
  }
  head.store(at, base::memory_order_release);
  takes_.fetch_add(1, base::memory_order_seq_cst);
  in_flight_.fetch_sub(static_cast<std::uint32_t>(filled), base::memory_order_relaxed);
  return filled;
}

// Called when take() has found the alarm in the ring.
bool kernel_aio::is_used_up() noexcept {
  is_armed_.store(false, base::memory_order_seq_cst);
  if (!has_sleeper_.load(base::memory_order_seq_cst)) return true;
  is_armed_.store(true, base::memory_order_seq_cst);
  return false;
}

// An eventfd never has POLLPRI, for which this poll waits. A sandbox may allow the other calls and refuse io_cancel(2).
bool kernel_aio::arm(int pollable) noexcept {
  if (is_armed()) return true;
  const auto context = this->context();
  if (context == 0 || !can_cancel(context)) return false;
  alarm_.fildes = pollable;
  iocb_abi* one = &alarm_;
  is_armed_.store(kernel_context::submit(context, {&one, 1}) == 1, base::memory_order_seq_cst);
  return is_armed();
}

// If the system refuses both system calls, the caller must poll the ring regularly.
kernel_aio::woken_by kernel_aio::wait(std::optional<std::chrono::nanoseconds> longest) const noexcept {
  auto timeout = to_timespec(longest.value_or(0ns));
  if (sleep_for_event(context_.load(base::memory_order_acquire), longest ? &timeout : nullptr) == 0)
    return woken_by::timeout;
  if (errno == EFAULT) return woken_by::news;
  if (errno == EINTR) return woken_by::signal;
  const auto nap = to_timespec(std::min(longest.value_or(nap_time), nap_time));
  return ::nanosleep(&nap, nullptr) != 0 ? woken_by::signal : woken_by::timeout;
}

void kernel_aio::wake() noexcept { io_cancel(context_.load(base::memory_order_acquire), alarm_); }

}  // namespace doorbell::aio
