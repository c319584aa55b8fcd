// SPDX-License-Identifier: Apache-2.0
//
// For whom the reaper completes a context's requests: for programs that wait for an eventfd, and for those that read the
// ring themselves.
#include <tuple>

#include "kioctx.hpp"
#include "reaper.hpp"

namespace doorbell::aio {

// A request that signals an eventfd must be completed though no thread comes for its event.
void kioctx::ensure_reaper(std::error_code& ec) noexcept {
  if (helper_.load(base::memory_order_acquire) == helper::bells) return;
  const base::mutex_lock held{helper_lock_};
  watch_locked(helper::bells, ec);
}

// The reaper and masked sleepers wait for descriptors that are not all of the engine's any more.
void kioctx::follow_engine() noexcept {
  {
    const base::mutex_lock held{helper_lock_};
    replacements_.store(engine_->replacements(), base::memory_order_relaxed);
    if (helper_.load(base::memory_order_relaxed) != helper::none) {
      std::error_code refused;  // then the reaper itself tries again
      reaper::process().forget(*this);
      reaper::process().watch(*this, refused);
    }
  }
  announce();
}

// The reaper may come before watch() has returned: by then it must be wanted.
void kioctx::watch_locked(helper wanted, std::error_code& ec) noexcept {
  if (helper_.load(base::memory_order_relaxed) == helper::none) {
    is_left_to_getters_.store(false, base::memory_order_relaxed);
    reaper::process().watch(*this, ec);
  }
  if (!ec) helper_.store(wanted, base::memory_order_release);
}

// A program may read its events in the ring itself and make no call for them. Then the reaper must fill the ring. If it
// cannot, the events are there when the program makes a call.
void kioctx::fill_ring_until_asked() noexcept {
  if (has_been_asked_.load(base::memory_order_acquire) || helper_.load(base::memory_order_acquire) != helper::none)
    return;
  const base::mutex_lock held{helper_lock_};
  if (helper_.load(base::memory_order_relaxed) != helper::none) return;
  std::error_code refused;
  watch_locked(helper::until_asked, refused);
}

// If a submit has just begun to watch the context, the next call ends that.
void kioctx::is_asked() noexcept {
  if (!has_been_asked_.load(base::memory_order_relaxed)) has_been_asked_.store(true, base::memory_order_release);
  if (helper_.load(base::memory_order_acquire) != helper::until_asked) return;
  const base::mutex_lock held{helper_lock_};
  if (helper_.load(base::memory_order_relaxed) != helper::until_asked) return;
  is_left_to_getters_.store(true, base::memory_order_relaxed);
  reaper::process().forget(*this);
  engine_->ignore_descriptors();
  if (masked_.load(base::memory_order_seq_cst) > 0) std::ignore = engine_->descriptors();  // they wait for them
  helper_.store(helper::none, base::memory_order_release);
}

}  // namespace doorbell::aio
