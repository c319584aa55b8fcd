// SPDX-License-Identifier: Apache-2.0
//
// From an iocb to a request in flight.
#include <algorithm>
#include <array>
#include <new>

#include "check.hpp"
#include "kioctx.hpp"
#include "reaper.hpp"

namespace doorbell::aio {

std::size_t kioctx::submit(std::span<iocb* const> iocbs, std::error_code& ec) noexcept {
  if (!users_.tryget_live()) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return 0;
  }
  iocbs = iocbs.first(std::min<std::size_t>(iocbs.size(), ring_.capacity()));
  std::size_t started = 0;
  while (started < iocbs.size() && !ec)
    started += submit_some(iocbs.subspan(started, std::min(submit_batch, iocbs.size() - started)), ec);
  users_.put();
  if (started > 0) ec.clear();
  return started;
}

// @return how many were started; `ec` is set when that is not all of them.
std::size_t kioctx::submit_some(std::span<iocb* const> iocbs, std::error_code& ec) noexcept {
  std::array<request*, submit_batch> made;
  std::size_t count = 0;
  for (auto* asked : iocbs) {
    made[count] = prepare(asked, ec);
    if (made[count] == nullptr) break;
    ++count;
  }
  const auto requests = std::span{made}.first(count);
  in_flight_.fetch_add(static_cast<std::uint32_t>(count), base::memory_order_relaxed);
  const auto started = engine_->start(requests);
  in_flight_.fetch_sub(static_cast<std::uint32_t>(count - started), base::memory_order_relaxed);
  enlist(requests.first(started));
  for (auto* unstarted : requests.subspan(started)) {
    abandon(*unstarted);
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
  }
  return started;
}

// Checks in the kernel's order. Whoever reads it as a list of what may fail reads it right.
request* kioctx::prepare(iocb* asked, std::error_code& ec) noexcept {
  if (asked == nullptr) {
    ec = std::make_error_code(std::errc::bad_address);
    return nullptr;
  }
  if (ec = check_layout(*asked); ec) return nullptr;
  auto* const made =
      new (std::nothrow) request{*asked, asked, asked->flags & iocb_abi::flag_resfd ? asked->eventfd() : nullptr};
  if (made == nullptr || !take_slot()) {
    delete made;
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return nullptr;
  }
  ec = check_file(*asked);
  if (!ec && reaped_by_somebody(*made, ec)) {
    asked->key = 0;
    ec = check_operation(*asked);
  }
  if (!ec) return made;
  abandon(*made);
  return nullptr;
}

bool kioctx::take_slot() noexcept {
  const base::mutex_lock held{ring_lock_};
  return ring_.take_slot();
}

// A request that rings an eventfd must be completed though nobody comes to get its event.
bool kioctx::reaped_by_somebody(const request& asked, std::error_code& ec) noexcept {
  if (!(asked.what.flags & iocb_abi::flag_resfd)) return true;
  if (asked.bell == nullptr || !asked.bell->is_open()) {
    ec = std::make_error_code(std::errc::bad_file_descriptor);
    return false;
  }
  if (!has_reaper_.load(base::memory_order_acquire)) {
    reaper::process().watch(*this, ec);
    if (ec) return false;
    has_reaper_.store(true, base::memory_order_release);
  }
  return true;
}

void kioctx::abandon(request& unstarted) noexcept {
  {
    const base::mutex_lock held{ring_lock_};
    ring_.return_slot();
  }
  unstarted.put();
  unstarted.put();
}

// The submitter's part after the start. The completion may have been quicker; then there is nothing to cancel any more.
void kioctx::enlist(std::span<request* const> started) noexcept {
  {
    const base::mutex_lock held{active_lock_};
    for (auto* in_flight : started)
      if (!in_flight->completed) active_.push_back(*in_flight);
  }
  for (auto* in_flight : started) in_flight->put();
}

}  // namespace doorbell::aio
