// SPDX-License-Identifier: Apache-2.0
//
// Creation, cancellation and destruction of a context.
#include "kioctx.hpp"

#include <doorbell/base/intrusive_ptr.hpp>
#include <doorbell/base/rcu.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <tuple>

#include "../engine/choice/engine_choice.hpp"
#include "../reaper/reaper.hpp"
#include "fork.hpp"
#include "process_end.hpp"
#include "request_limit.hpp"

namespace doorbell::aio {
namespace {

constexpr std::chrono::milliseconds late_sleeper_look{100};
constexpr unsigned max_ring_events = 0x10000000U / sizeof(io_event);

// As in the kernel, which gives slots to each processor in batches: twice the larger of `nr_events` and four events per
// processor. The result may wrap, as it does in the kernel.
unsigned ring_events(unsigned nr_events) noexcept {
  const auto processors = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_CONF)));
  return 2 * std::max(nr_events, 4 * processors);
}

std::uint64_t next_serial() noexcept {
  static base::atomic<std::uint64_t> last{0};
  // equivalent fault (constant): serials differ whatever number is added
  return last.fetch_add(1, base::memory_order_relaxed) + 1;
}

}  // namespace

struct kioctx::unpublished {
  void operator()(kioctx* ctx) const noexcept { delete ctx; }
};

kioctx::identity kioctx::make(unsigned nr_events, engine_kind carried_by, std::error_code& ec) noexcept {
  auto& limit = request_limit::process();
  const auto events = ring_events(nr_events);
  if (nr_events == 0 || events > max_ring_events) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return {};
  }
  if (events == 0 || nr_events > limit.max()) {
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return {};
  }
  expect_forks();
  std::unique_ptr<kioctx, unpublished> made;
  try {
    made.reset(new kioctx);
  } catch (const std::bad_alloc&) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return {};
  }
  made->process_ = expect_process_end();
  made->serial_ = next_serial();
  made->charged_ = nr_events;
  made->ring_.map(events, ec);
  if (!ec) made->engine_ = make_engine(carried_by, made->ring_.capacity(), ec);
  if (ec) return {};
  made->requests_.set_size(made->ring_.capacity(), sizeof(request));
  const identity known{.handle = reinterpret_cast<std::uintptr_t>(made->ring_.address()), .serial = made->serial_};
  made->key_.store(known.handle, base::memory_order_relaxed);
  if (!limit.charge(nr_events)) {
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return {};
  }
  // The last step that can fail. After it other threads can destroy the context, so it could not be undone.
  ioctx_table::process().add(*made, ec);
  if (ec) {
    limit.refund(nr_events);
    return {};
  }
  std::ignore = made.release();
  return known;
}

bool kioctx::has_moved_to(std::uintptr_t handle) noexcept {
  const base::mutex_lock held{ring_lock_};
  if (!ring_.has_moved_to(reinterpret_cast<void*>(handle))) return false;
  key_.store(handle, base::memory_order_relaxed);
  return true;
}

void kioctx::cancel(const iocb_abi& asked, std::error_code& ec) noexcept {
  base::intrusive_ptr<request> found;
  {
    const base::mutex_lock held{active_lock_};
    // As in the kernel, a request that is being cancelled already is not found again.
    const auto at = std::find_if(active_.begin(), active_.end(), [&](const auto& each) {
      return each.user_iocb == &asked && !each.cancelled.load(base::memory_order_relaxed);
    });
    if (at != active_.end()) {
      found = &*at;
      found->cancelled.store(true, base::memory_order_seq_cst);
    }
  }
  if (found == nullptr) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return;
  }
  if (engine_->cancel(*found) == engine::cancel_result::asked) return;
  reap_all_for_others();
  if (engine_->cancel(*found) == engine::cancel_result::asked) return;
  // A later call may cancel the request.
  found->cancelled.store(false, base::memory_order_seq_cst);
  ec = std::make_error_code(std::errc::resource_unavailable_try_again);
}

void kioctx::destroy(kioctx_user me, std::error_code& ec) noexcept {
  if (dead_.exchange(true, base::memory_order_acq_rel)) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return;
  }
  request_limit::process().refund(charged_);
  ioctx_table::process().remove(*this);
  me.leave();
  users_.kill();
  notify_waiters();
  wait_for_users();
  // Not earlier: until the last user has left, a user may submit a request that needs the reaper.
  if (reaper_work_.load(base::memory_order_relaxed) != reaper_work::none) reaper::process().forget(*this);
  // If the engine has no room for a cancellation now, it has room after its completions have been reaped.
  while (!cancel_all()) {
    reap_all();
    std::this_thread::yield();
  }
  reap_all();
  while (in_flight_.load(base::memory_order_relaxed) > 0 && !only_endless_left()) {
    // A sleeper that wakes late may consume the wakeup that is meant for this thread.
    const bool has_late_sleepers = memory_users_.load(base::memory_order_relaxed) > 1;
    engine_->wait(has_late_sleepers ? base::deadline{std::chrono::steady_clock::now() + late_sleeper_look}
                                    : std::nullopt);
    reap_all();
  }
  ioctx_table::process().forget(*this);
  if (has_endless_) end_the_endless();
  // A thread that has found the context in the table may not have called tryget_live() yet.
  base::rcu_synchronize();
  if (memory_users_.load(base::memory_order_acquire) > 1) {
    engine_->give_up();
    ring_.unmap();
  }
  release_memory();
  resfd_registry::process().delete_ended();
}

void kioctx::release_memory() noexcept {
  if (memory_users_.fetch_sub(1, base::memory_order_acq_rel) == 1) delete this;
}

// A thread that has left get_events() by siglongjmp(3) does not return from it, so destroy() takes over its record.
void kioctx::wait_for_users() noexcept {
  sleep_record::take_own(*this);
  for (;;) {
    const auto patience = sleep_record::patience();
    if (users_.wait_for_none(patience ? base::deadline{std::chrono::steady_clock::now() + *patience} : std::nullopt))
      return;
    sleep_record::take_all(*this);
  }
}

// No user is left: the requests on the list are in flight, and stay on it until reap_all() removes them. As in the
// kernel, accepted file I/O is not cancelled: a program may rely on writes whose events it has not fetched.
// @return false if the engine must be asked again to cancel some of them.
bool kioctx::cancel_all() noexcept {
  const base::mutex_lock held{active_lock_};
  return std::all_of(active_.begin(), active_.end(), [this](auto& each) {
    if (each.ends_by_itself) return true;
    each.cancelled.store(true, base::memory_order_seq_cst);
    const auto answer = engine_->cancel(each);
    each.is_endless = answer == engine::cancel_result::impossible;
    has_endless_ = has_endless_ || each.is_endless;
    return answer != engine::cancel_result::try_again;
  });
}

bool kioctx::only_endless_left() noexcept {
  if (!has_endless_) return false;
  const base::mutex_lock held{active_lock_};
  return std::all_of(active_.begin(), active_.end(), [](const auto& each) { return each.is_endless; });
}

void kioctx::end_the_endless() noexcept {
  base::rcu_synchronize();  // an ending process may be reading the engine's queues
  engine_->give_up();
  for (;;) {
    completion last{nullptr, -ECANCELED};
    {
      const base::mutex_lock held{active_lock_};
      if (active_.empty()) return;
      last.done = &active_.front();
    }
    complete({&last, 1}, fetched_by::this_thread);
  }
}

}  // namespace doorbell::aio
