// SPDX-License-Identifier: Apache-2.0
//
// engine_threads: its completions, and the threads and descriptors that wait for them.
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <tuple>
#include <utility>

#include "../../system/eventfd_signal.hpp"
#include "../../system/raw_calls.hpp"
#include "../../system/reaper_thread.hpp"
#include "engine_threads.hpp"

namespace doorbell::aio {
namespace {

constexpr std::chrono::milliseconds look_every{1};

}  // namespace

// The thread that reaps the last completion may then destroy the engine. So after the lock is released, this function
// uses only the address of the word.
void engine_threads::complete(request& done) noexcept {
  const auto* const word = &word_;
  bool was_asleep = false;
  {
    const base::mutex_lock held{completion_lock_};
    done.answered = request_observer::answered_by::threads;
    completions_.push_back(done);
    was_asleep = wake_in_kernel(tell(completions_bit));
    // The bit, which reap() reads without the lock, is set before the descriptor is signalled: so a thread that the
    // descriptor wakes finds a completion.
    if (is_watched()) signal_descriptor();
  }
  if (was_asleep) base::futex_wake_all(word);
}

// In the I/O threads' table, the program's number of the eventfd refers to nothing, or to another file.
void engine_threads::signal_descriptor() const noexcept {
  auto* const here = io_threads::of_this_thread();
  bool is_signalled = false;
  if (here == nullptr) {
    is_signalled = descriptor_.is_ours() && ::eventfd_write(descriptor_.get(), 1) == 0;
    // A new eventfd has a count for the completions that are there.
    if (!is_signalled && has_reader_ && !reaper_thread::is_this_thread()) std::ignore = descriptor_locked();
  } else if (const auto* const queue = find_queue(*here); queue != nullptr && queue->pinned_eventfd != 0) {
    if (const int fd = here->pins.number(queue->pinned_eventfd); fd >= 0)
      is_signalled = raw::add_to_eventfd(fd) && has_current_pin(*queue);
    else
      io_threads_lack_descriptor_.store(true, base::memory_order_seq_cst);
  }
  if (is_signalled) counts_due_.fetch_add(1, base::memory_order_relaxed);
}

bool engine_threads::has_current_pin(const io_threads_queue& queue) const noexcept {
  return queue.pinned_eventfd != 0 && queue.pinned_serial == eventfd_serial_.load(base::memory_order_relaxed);
}

// Does not wait while the channel is full: the thread that empties it may wait for completion_lock_. If the channel is
// full, the reaper polls for completions regularly, and the next request tries again.
// @return the error.
std::error_code engine_threads::pin_descriptor(io_threads& with) const noexcept {
  if (!descriptor_.is_ours()) return {};
  auto& queue = queue_in(with);
  file_pins::ticket pinned = 0;
  auto ec = with.start();
  if (!ec) {
    pinned = with.pins.pin(descriptor_.get(), file_pins::sharing::own, ec, file_pins::when_full::fail);
  }
  if (!ec) {
    queue.unpin_eventfd();
    queue.pinned_eventfd = pinned;
    queue.pinned_serial = eventfd_serial_.load(base::memory_order_relaxed);
    // No request follows that makes the I/O threads receive the eventfd, and other threads may wait for room in the
    // channel.
    with.wakeup.wake();
  }
  io_threads_lack_descriptor_.store(static_cast<bool>(ec), base::memory_order_seq_cst);
  return ec;
}

// @return the word before. Release pairs with the acquires in wait() and reap().
std::uint32_t engine_threads::tell(std::uint32_t bits) noexcept {
  return word_.fetch_or(bits, base::memory_order_seq_cst);
}

// Wakes a thread that sleeps in the kernel's AIO. @return whether a thread sleeps on the futex instead.
bool engine_threads::wake_in_kernel(std::uint32_t word) noexcept {
  if ((word & in_kernel_bit) != 0) direct_.wake();
  return (word & asleep_bit) != 0 && (word & in_kernel_bit) == 0;
}

void engine_threads::add_locked(std::span<const completion> fetched) noexcept {
  std::uint64_t files = 0;
  std::int64_t announced = 0;
  for (const auto& [done, res] : fetched) {
    done->by_threads.res = res;
    done->answered = request_observer::answered_by::kernel_aio;
    completions_.push_back(*done);
    if (done->ends_by_itself) ++files;
    if (!done->is_unnotified) ++announced;
  }
  files_done_.fetch_add(files, base::memory_order_seq_cst);
  counts_due_.fetch_add(announced, base::memory_order_relaxed);
}

// If the alarm has been used up, arms another one for the next sleeper in the kernel's AIO.
void engine_threads::fetch_direct_locked() noexcept {
  std::array<completion, kernel_aio::batch> fetched;
  add_locked(std::span{fetched}.first(direct_.take(fetched)));
  if (!direct_.is_armed() && direct_.has_requests() && descriptor_.is_ours()) direct_.arm(descriptor_.get());
}

std::size_t engine_threads::reap(std::span<completion> completions) noexcept {
  const bool is_worth_it = (word_.load(base::memory_order_acquire) & completions_bit) != 0 ||
                           direct_.has_completions() ||
                           (is_watched() && counts_due_.load(base::memory_order_relaxed) > 0);
  if (!is_worth_it) return 0;
  const base::mutex_lock held{completion_lock_};
  fetch_direct_locked();
  std::size_t filled = 0;
  for (; filled < completions.size() && !completions_.empty(); ++filled) {
    auto& done = completions_.front();
    completions_.pop_front();
    completions[filled] = {&done, done.by_threads.res};
    if (done.ends_by_itself) files_done_.fetch_sub(1, base::memory_order_seq_cst);
    has_left_io_threads(done);
  }
  if (queues_.load(base::memory_order_relaxed) != &first_queue_) unpin_from_unused_io_threads();
  if (completions_.empty())
    nothing_left();
  else
    tell(completions_bit);
  return filled;
}

void engine_threads::has_left_io_threads(request& done) noexcept {
  if (const auto* const with = std::exchange(done.by_threads.with, nullptr); with != nullptr)
    queue_in(*with).requests.fetch_sub(1, base::memory_order_relaxed);
}

void engine_threads::nothing_left() noexcept {
  word_.fetch_and(~completions_bit, base::memory_order_acq_rel);
  if (is_watched()) empty_descriptor();
}

// This may also take out counts of completions that have not been fetched. In that case it adds one again.
void engine_threads::empty_descriptor() const noexcept {
  const auto due = counts_due_.load(base::memory_order_relaxed);
  if (due <= 0 || reaper_thread::is_this_thread()) return;
  eventfd_t count = 0;  // equivalent fault (constant): used only after a read has stored it
  if (descriptor_.is_ours() && ::eventfd_read(descriptor_.get(), &count) == 0)
    counts_due_.store(due - static_cast<std::int64_t>(count), base::memory_order_relaxed);
  if (has_reader_) counts_due_.store(0, base::memory_order_relaxed);
  if (direct_.carried_out() > 0) signal_descriptor();
}

// The reaper's thread must not check the number and then write (reaper_thread.hpp), unless there is no other way.
// counts_due_ is raised before the write: an event loop that the write wakes finds a count due, so its reap() waits for
// the lock, and then empties the descriptor. Otherwise the loop would find nothing to reap, and the descriptor
// readable, until this thread goes on.
void engine_threads::announce() noexcept {
  const base::mutex_lock held{completion_lock_};
  if (!is_watched()) return;
  counts_due_.fetch_add(1, base::memory_order_relaxed);
  const bool is_signalled = reaper_thread::is_this_thread()
                                ? descriptor_ && eventfd_signal::add(descriptor_, 1) == 0
                                : descriptor_.is_ours() && ::eventfd_write(descriptor_.get(), 1) == 0;
  if (is_signalled) return;
  counts_due_.fetch_sub(1, base::memory_order_relaxed);
  signal_descriptor();
}

// Waiting.

engine::wait_result engine_threads::wait(base::deadline until) noexcept {
  for (;;) {
    auto word = word_.load(base::memory_order_acquire);
    if (word & (completions_bit | woken_bit)) return wake_up(wait_result::ready);
    const bool in_kernel = direct_.has_requests();
    if (in_kernel) direct_.begin_sleep();
    // The word may have the bits of a sleep that this thread has interrupted in a signal handler, or that never
    // returned.
    const auto asleep = in_kernel ? asleep_bit | in_kernel_bit : asleep_bit;
    if (word != asleep && !word_.compare_exchange_strong(word, asleep, base::memory_order_seq_cst)) continue;
    if (in_kernel) return sleep_in_kernel(until);
    if (direct_.has_requests()) return wake_up(wait_result::ready);
    // With a deadline, even an infinite one, every signal handler interrupts the sleep, as in io_getevents(2).
    switch (base::futex_wait(word_, asleep_bit, until.value_or(std::chrono::steady_clock::time_point::max()))) {
      case base::futex_result::timed_out:
        return wake_up(wait_result::timed_out);
      case base::futex_result::interrupted:
        return wake_up(wait_result::interrupted);
      case base::futex_result::woken:
        break;
    }
  }
}

engine::wait_result engine_threads::sleep_in_kernel(base::deadline until) noexcept {
  using clock = std::chrono::steady_clock;
  // No limit without `until`: the kernel would program a timer for it, which costs several microseconds.
  std::optional<std::chrono::nanoseconds> longest;
  if (until) longest = std::max<clock::duration>(*until - clock::now(), clock::duration::zero());
  if (!direct_.is_armed()) longest = std::min<std::chrono::nanoseconds>(longest.value_or(look_every), look_every);
  if (has_news()) return wake_up(wait_result::ready);
  switch (direct_.wait(longest)) {
    case kernel_aio::woken_by::signal:
      return wake_up(wait_result::interrupted);
    case kernel_aio::woken_by::timeout:
      return wake_up(until && *until <= clock::now() ? wait_result::timed_out : wait_result::ready);
    case kernel_aio::woken_by::news:
      break;
  }
  return wake_up(wait_result::ready);
}

engine::wait_result engine_threads::wake_up(wait_result because) noexcept {
  word_.fetch_and(~(asleep_bit | in_kernel_bit | woken_bit), base::memory_order_acq_rel);
  direct_.end_sleep();
  return because;
}

void engine_threads::wake() noexcept {
  if (wake_in_kernel(tell(woken_bit))) base::futex_wake_all(&word_);
}

// Without the lock: its holder may be a thread that does not exist in the child.
void engine_threads::abandon_in_child() noexcept {
  descriptor_.reset();
  direct_.abandon_in_child();
}

int engine_threads::descriptor() const noexcept {
  const base::mutex_lock held{completion_lock_};
  has_reader_ = false;
  return watch_locked();
}

engine_threads::numbered_eventfd engine_threads::descriptor_for_reader() const noexcept {
  const base::mutex_lock held{completion_lock_};
  has_reader_ = true;
  const int number = watch_locked();
  return {.number = number, .serial = eventfd_serial_.load(base::memory_order_relaxed)};
}

void engine_threads::ignore_descriptors() noexcept {
  const base::mutex_lock held{completion_lock_};
  is_watched_.store(false, base::memory_order_relaxed);
}

int engine_threads::watch_locked() const noexcept {
  const bool was_watched = is_watched_.exchange(true, base::memory_order_relaxed);
  const int number = descriptor_locked();
  if (was_watched || number < 0) return number;
  auto& now = *io_threads_.load(base::memory_order_acquire);
  if (!has_current_pin(queue_in(now))) std::ignore = pin_descriptor(now);
  empty_descriptor();
  // A thread that completed a request while the descriptor was ignored has not signalled it.
  if (!completions_.empty()) signal_descriptor();
  return number;
}

// Creates the eventfd on first use, or after the program has closed it.
int engine_threads::descriptor_locked() const noexcept {
  const auto before = eventfd_serial_.load(base::memory_order_relaxed);
  renew_descriptor_if_lost();
  const bool is_new = eventfd_serial_.load(base::memory_order_relaxed) != before;
  if (is_new && is_watched()) std::ignore = pin_descriptor(*io_threads_.load(base::memory_order_acquire));
  return descriptor_.get();
}

// A new eventfd announces the completions that are there already. The serial number counts changes only: it must not
// grow while the process has no free descriptor, because a ring has few slots.
void engine_threads::renew_descriptor_if_lost() const noexcept {
  if (descriptor_.is_ours()) return;
  const bool has_some = !completions_.empty() || direct_.carried_out() > 0;
  const unsigned already = has_some ? 1 : 0;
  const bool had_one = static_cast<bool>(descriptor_);
  descriptor_ = base::private_fd{base::unique_fd{::eventfd(already, EFD_CLOEXEC | EFD_NONBLOCK)}};
  counts_due_.store(already, base::memory_order_relaxed);
  if (had_one || descriptor_) eventfd_serial_.fetch_add(1, base::memory_order_release);
}

}  // namespace doorbell::aio
