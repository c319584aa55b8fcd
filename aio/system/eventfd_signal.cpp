// SPDX-License-Identifier: Apache-2.0
#include "eventfd_signal.hpp"

#include <doorbell/base/errno_kept.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <span>

#include "kernel_context.hpp"
#include "tsan_annotations.hpp"

namespace doorbell::aio::eventfd_signal {
namespace {

using kernel_context::handle;
using clock = std::chrono::steady_clock;

constexpr unsigned context_size = 128;
constexpr std::size_t batch = 64;
constexpr clock::duration retry_after = std::chrono::seconds{1};

constinit base::atomic<handle> made_context{0};
constinit base::atomic<clock::rep> next_attempt{0};  // to create the context
/// io_submit(2) refuses reads of an eventfd, as in older kernels, or a sandbox refuses io_submit(2) for good.
constinit base::atomic<bool> is_unavailable{false};

// Without a lock, because a signal handler may have interrupted the thread that creates the context.
handle context() noexcept {
  if (is_unavailable.load(base::memory_order_relaxed)) return 0;
  if (const auto known = made_context.load(base::memory_order_acquire)) return known;
  if (kernel_context::is_refused()) return 0;
  const auto now = clock::now().time_since_epoch();
  if (now.count() < next_attempt.load(base::memory_order_relaxed)) return 0;
  const auto made = kernel_context::create(context_size);
  if (made == 0) {
    if (!kernel_context::note_refusal()) next_attempt.store((now + retry_after).count(), base::memory_order_relaxed);
    return 0;
  }
  handle known = 0;
  if (made_context.compare_exchange_strong(known, made, base::memory_order_acq_rel)) return made;
  kernel_context::destroy(made);
  return known;
}

void discard_events(handle context) noexcept {
  const base::atomic_ref<unsigned> head{kernel_context::ring_of(context).head};
  head.store(kernel_context::tail_of(context), base::memory_order_release);
}

iocb_abi signal_by(int eventfd) noexcept {
  iocb_abi made{};
  made.lio_opcode = static_cast<std::uint16_t>(opcode::pread);
  made.fildes = eventfd;
  made.flags = iocb_abi::flag_resfd;
  made.resfd = static_cast<std::uint32_t>(eventfd);
  return made;
}

enum class refusal { transient, lost, lasting };

refusal classify(int error, const base::private_fd& eventfd) noexcept {
  if (error == EBADF || error == EINVAL) return eventfd.verify() ? refusal::lasting : refusal::lost;
  errno = error;
  return kernel_context::note_refusal() ? refusal::lasting : refusal::transient;
}

}  // namespace

// The kernel may have no free slot while other threads have signalled and not yet discarded their events. So this
// retries.
std::uint64_t add(const base::private_fd& eventfd, std::uint64_t n) noexcept {
  const base::errno_kept around;
  if (!eventfd.refers_to_its_file()) return 0;
  auto one = signal_by(eventfd.get());
  std::array<iocb_abi*, batch> same;
  same.fill(&one);
  constexpr int most_failures = 2;
  for (int failures = 0; n > 0 && failures < most_failures;) {
    const auto context = eventfd_signal::context();
    if (context == 0) return n;
    tsan_annotations::happens_before_by(eventfd);
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(n, batch));
    const auto answer = kernel_context::submit(context, std::span{same}.first(count));
    discard_events(context);
    if (answer > 0) {
      n -= static_cast<std::uint64_t>(answer);
      continue;
    }
    ++failures;
    switch (classify(errno, eventfd)) {
      case refusal::lost:
        return 0;
      case refusal::lasting:
        is_unavailable.store(true, base::memory_order_relaxed);
        return n;
      case refusal::transient:
        break;
    }
  }
  return n;
}

void forget_context_in_child() noexcept {
  made_context.store(0, base::memory_order_relaxed);
  next_attempt.store(0, base::memory_order_relaxed);
}

}  // namespace doorbell::aio::eventfd_signal
