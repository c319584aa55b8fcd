// SPDX-License-Identifier: Apache-2.0
//
// The life of a context.
#include "kioctx.hpp"

#include <unistd.h>

#include <algorithm>
#include <new>

#include "engine_uring.hpp"
#include "reaper.hpp"

namespace doorbell::aio {
namespace {

constexpr unsigned max_ring_events = 0x10000000U / sizeof(io_event);

// Completions are got in batches, by every processor at once if need be; so there is room for four of each, twice over.
unsigned ring_events(unsigned nr_events) noexcept {
  const auto processors = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_CONF)));
  return 2 * std::max(nr_events, 4 * processors);
}

}  // namespace

std::unique_ptr<kioctx> kioctx::make(unsigned nr_events, std::error_code& ec) noexcept {
  if (nr_events == 0 || nr_events > max_ring_events / 2) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return nullptr;
  }
  std::unique_ptr<kioctx> made{new (std::nothrow) kioctx};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return nullptr;
  }
  made->ring_.map(ring_events(nr_events), ec);
  if (!ec) made->engine_ = engine_uring::make(made->ring_.capacity(), ec);
  if (ec) return nullptr;
  made->engine_name_ = made->engine_->name();
  return made;
}

void kioctx::cancel(const iocb& asked, std::error_code& ec) noexcept {
  if (!users_.tryget_live()) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return;
  }
  boost::intrusive_ptr<request> found;
  {
    const base::mutex_lock held{active_lock_};
    const auto at = std::find_if(active_.begin(), active_.end(), [&](const auto& each) { return each.obj == &asked; });
    if (at != active_.end()) found = &*at;
  }
  if (found == nullptr) {
    ec = std::make_error_code(std::errc::invalid_argument);
  } else {
    found->cancelled.store(true, base::memory_order_seq_cst);
    engine_->cancel(*found);
  }
  users_.put();
}

void kioctx::destroy(std::error_code& ec) noexcept {
  if (eventfd_ctx::in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return;
  }
  if (!users_.kill()) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return;
  }
  if (has_reaper_.load(base::memory_order_acquire)) reaper::process().forget(*this);
  announce();
  users_.wait_for_none();
  cancel_all();
  reap_all();
  while (in_flight_.load(base::memory_order_relaxed) > 0) {
    engine_->wait({});
    reap_all();
  }
  engine_.reset();
  ring_.unmap();
}

// Nobody else is left: what is on the list is in flight, and stays on it until reap_all() takes it off.
void kioctx::cancel_all() noexcept {
  const base::mutex_lock held{active_lock_};
  for (auto& each : active_) {
    each.cancelled.store(true, base::memory_order_seq_cst);
    engine_->cancel(each);
  }
}

}  // namespace doorbell::aio
