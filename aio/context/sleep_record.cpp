// SPDX-License-Identifier: Apache-2.0
#include "sleep_record.hpp"

#include <pthread.h>

#include <csignal>
#include <cstddef>
#include <new>
#include <thread>
#include <utility>

#include "kioctx.hpp"

#ifdef DOORBELL_MODEL
#include <doorbell_model/sleeps.hpp>
#endif

namespace doorbell::aio {
namespace {

#ifdef DOORBELL_MODEL
bool are_kept() noexcept { return model::are_sleeps_recorded(); }
bool has_patience_for_ever() noexcept { return !model::may_give_up_waiting(); }
#else
constexpr bool are_kept() noexcept { return true; }
constexpr bool has_patience_for_ever() noexcept { return false; }
#endif

constinit base::atomic<sleep_record*> all{nullptr};

// False in doubt. A fiber or a signal handler may use another stack, which may even be an array on this thread's stack.
bool are_on_stack_of_thread(const void* one, const void* other) noexcept {
  stack_t alternate{};
  if (::sigaltstack(nullptr, &alternate) != 0 || (alternate.ss_flags & SS_ONSTACK) != 0) return false;
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return false;
  void* lowest = nullptr;
  std::size_t size = 0;
  const int error = ::pthread_attr_getstack(&attributes, &lowest, &size);
  ::pthread_attr_destroy(&attributes);
  const auto is_inside = [&](const void* address) {
    const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(lowest);
    return error == 0 && offset < size;
  };
  return is_inside(one) && is_inside(other);
}

}  // namespace

thread_local constinit unsigned sleep_record::in_use_ = 0;
thread_local constinit sleep_record* sleep_record::mine_ = nullptr;

/// When a thread ends, makes its records available to other threads.
struct sleep_record::owner {
  owner() noexcept = default;
  ~owner() {
    for (auto* each = mine_; each != nullptr;) {
      auto* const next = each->next_of_thread_;
      each->end_for_ever();
      // Release pairs with the acquire in of_ended_thread().
      each->is_owned_.store(false, base::memory_order_release);
      each = next;
    }
    mine_ = nullptr;
  }
  owner(const owner&) = delete;
  owner& operator=(const owner&) = delete;
};

sleep_record* sleep_record::get() noexcept {
  if (!are_kept()) return nullptr;
  for (auto* each = mine_; each != nullptr; each = each->next_of_thread_)
    if (each->word_.load(base::memory_order_relaxed) == 0) return each;
#ifndef DOORBELL_MODEL  // there, threads are fibers of one thread
  static thread_local const owner until_end_of_thread;
#endif
  auto* found = of_ended_thread();
  if (found == nullptr) found = make();
  if (found == nullptr) return nullptr;
  found->next_of_thread_ = mine_;
  mine_ = found;
  return found;
}

sleep_record* sleep_record::make() noexcept {
  auto* const made = new (std::nothrow) sleep_record;
  if (made == nullptr) return nullptr;
  auto* first = all.load(base::memory_order_relaxed);
  // Release pairs with the acquire loads of threads that traverse the list.
  do made->next_ = first;
  while (!all.compare_exchange_weak(first, made, base::memory_order_release, base::memory_order_relaxed));
  return made;
}

sleep_record* sleep_record::of_ended_thread() noexcept {
  for (auto* each = all.load(base::memory_order_acquire); each != nullptr; each = each->next_) {
    if (!each->is_owned_.load(base::memory_order_relaxed) &&
        !each->is_owned_.exchange(true, base::memory_order_acquire))
      return each;
  }
  return nullptr;
}

void sleep_record::begin(kioctx& ctx, role what) noexcept {
  what_ = what;
  frame_ = __builtin_frame_address(0);
  ++in_use_;
  word_.store(reinterpret_cast<std::uintptr_t>(&ctx) | sleeping, base::memory_order_release);
}

bool sleep_record::end() noexcept {
  if (in_use_ > 0) --in_use_;
  auto word = word_.load(base::memory_order_relaxed);
  if ((word & states) == sleeping &&
      word_.compare_exchange_strong(word, 0, base::memory_order_acq_rel, base::memory_order_relaxed))
    return true;
  // Acquire pairs with the release in take().
  while (((word = word_.load(base::memory_order_acquire)) & states) != taken) std::this_thread::yield();
  word_.store(0, base::memory_order_relaxed);
  reinterpret_cast<kioctx*>(word & ~states)->release_memory();
  return false;
}

bool sleep_record::is_led_by_this_thread(const kioctx& ctx) noexcept {
  for (const auto* each = mine_; each != nullptr; each = each->next_of_thread_)
    if (each->word_.load(base::memory_order_relaxed) == (reinterpret_cast<std::uintptr_t>(&ctx) | sleeping) &&
        each->what_ == role::leader)
      return true;
  return false;
}

// The stack grows downwards: all frames of a call in progress are below those of its callers, and a signal handler runs
// below the frame that it interrupted. So a recorded frame that is not above that of a call made now has been left.
bool sleep_record::is_abandoned(const void* frame) const noexcept {
  return reinterpret_cast<std::uintptr_t>(frame_) <= reinterpret_cast<std::uintptr_t>(frame) &&
         are_on_stack_of_thread(frame_, frame);
}

void sleep_record::end_abandoned(const void* frame) noexcept {
  for (auto* each = mine_; each != nullptr; each = each->next_of_thread_)
    if (each->word_.load(base::memory_order_relaxed) != 0 && each->is_abandoned(frame)) each->end_for_ever();
}

void sleep_record::end_for_ever() noexcept {
  const auto word = word_.load(base::memory_order_relaxed);
  if (word == 0) return;
  auto& ctx = *reinterpret_cast<kioctx*>(word & ~states);
  if (end()) ctx.leave_for_sleeper(*this);
}

void sleep_record::take(kioctx& ctx) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(&ctx);
  auto expected = address | sleeping;
  if (word_.load(base::memory_order_relaxed) != expected) return;
  ctx.keep_memory();
  if (!word_.compare_exchange_strong(expected, address | being_taken, base::memory_order_acq_rel,
                                     base::memory_order_relaxed)) {
    ctx.release_memory();
    return;
  }
  ctx.leave_for_sleeper(*this);
  word_.store(address | taken, base::memory_order_release);
}

void sleep_record::take_own(kioctx& ctx) noexcept {
  // equivalent fault (dropped): take_all() takes these records, too, after patience()
  for (auto* each = mine_; each != nullptr; each = each->next_of_thread_) each->take(ctx);
}

void sleep_record::take_all(kioctx& ctx) noexcept {
  for (auto* each = all.load(base::memory_order_acquire); each != nullptr; each = each->next_) each->take(ctx);
}

std::optional<std::chrono::milliseconds> sleep_record::patience() noexcept {
  if (has_patience_for_ever()) return std::nullopt;
  return std::chrono::milliseconds{100};  // equivalent fault (constant): any such time will do
}

// Records in use stay as they are, because the locks of their contexts may be held in the child.
void sleep_record::forget_all() noexcept {
  for (auto** at = &mine_; *at != nullptr;) {
    auto& each = **at;
    if (each.word_.load(base::memory_order_relaxed) != 0)
      *at = each.next_of_thread_;
    else
      at = &each.next_of_thread_;
  }
  in_use_ = 0;
}

#ifdef DOORBELL_MODEL
void sleep_record::free_all() noexcept {
  for (auto* each = all.exchange(nullptr, base::memory_order_relaxed); each != nullptr;)
    delete std::exchange(each, each->next_);
}
#endif

}  // namespace doorbell::aio
