// SPDX-License-Identifier: Apache-2.0
//
// From an iocb to a request in flight.
#include <algorithm>
#include <array>
#include <new>

#include "check.hpp"
#include "kioctx.hpp"
#include "reaper.hpp"
#include "user_memory.hpp"

namespace doorbell::aio {
namespace {

/// Whom the request rings. Errors: bad_file_descriptor, invalid_argument for a descriptor that is not an eventfd.
std::error_code find_bell(const iocb& asked, request& made) noexcept {
  if (asked.eventfd() == nullptr || !asked.eventfd()->is_open())
    return std::make_error_code(std::errc::bad_file_descriptor);
  made.bell = asked.eventfd();
  return {};
}

// A kernel eventfd is rung through one of ours that forwards to it, and holds the file: closing the descriptor, or using
// its number again, changes nothing.
std::error_code find_bell(const iocb_abi& asked, request& made) noexcept {
  std::error_code ec;
  made.forwarding = doorbell::eventfd{0, 0, ec};
  if (!ec) made.forwarding.forward_to(static_cast<int>(asked.resfd), ec);
  made.bell = made.forwarding.context();
  return ec;
}

}  // namespace

template <class Iocb>
std::size_t kioctx::submit(std::span<Iocb* const> iocbs, std::error_code& ec) noexcept {
  iocbs = iocbs.first(at_most(iocbs.size()));
  std::size_t started = 0;
  while (started < iocbs.size() && !ec)
    started += submit_some(iocbs.subspan(started, std::min(submit_batch, iocbs.size() - started)), ec);
  if (started > 0) ec.clear();
  return started;
}

template std::size_t kioctx::submit(std::span<iocb* const>, std::error_code&) noexcept;
template std::size_t kioctx::submit(std::span<iocb_abi* const>, std::error_code&) noexcept;

// @return how many were started; `ec` is set when that is not all of them.
template <class Iocb>
std::size_t kioctx::submit_some(std::span<Iocb* const> iocbs, std::error_code& ec) noexcept {
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
template <class Iocb>
request* kioctx::prepare(Iocb* asked, std::error_code& ec) noexcept {
  if (!plausible(asked, sizeof *asked)) {
    ec = std::make_error_code(std::errc::bad_address);
    return nullptr;
  }
  ec = check_layout(*asked);
  if (ec) return nullptr;
  auto* const made = new (std::nothrow) request{*asked, asked};
  if (made == nullptr || !take_slot()) {
    delete made;
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return nullptr;
  }
  file_facts file;
  ec = look_up_file(*asked, file);
  if (!ec && (asked->flags & iocb_abi::flag_resfd)) {
    ec = find_bell(*asked, *made);
    if (!ec) ensure_reaper(ec);
  }
  if (!ec) {
    asked->key = 0;
    ec = check_operation(*made, file);
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
void kioctx::ensure_reaper(std::error_code& ec) noexcept {
  if (has_reaper_.load(base::memory_order_acquire)) return;
  reaper::process().watch(*this, ec);
  if (!ec) has_reaper_.store(true, base::memory_order_release);
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
