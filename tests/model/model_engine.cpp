// SPDX-License-Identifier: Apache-2.0
#include "model_engine.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

#include <doorbell/base/background_thread.hpp>

#include "../../eventfd/forward_helper.hpp"
#include "context/fork.hpp"
#include "engine/choice/engine_choice.hpp"
#include "io/inline_io.hpp"
#include "reaper/reaper.hpp"
#include "request/operation.hpp"
#include "scenario.hpp"

namespace doorbell::model {
namespace {

std::shared_ptr<device> made_last;

}  // namespace

std::shared_ptr<device> device::take_last() noexcept { return std::move(made_last); }

device::device() {
  // The vectors do not grow while the device runs: scenarios do not explore reallocation.
  in_flight_.reserve(8);
  completed_.reserve(8);
}

void device::complete_one() {
  const base::mutex_lock held{lock_};
  while (in_flight_.empty()) started_some_.wait(lock_);
  complete_first_locked();
}

bool device::complete_one_if_any() {
  const base::mutex_lock held{lock_};
  const bool any = !in_flight_.empty();
  if (any) complete_first_locked();
  return any;
}

// Like hardware, the device may write to the buffer until it reports the completion.
void device::complete_first_locked() {
  const auto& what = in_flight_.front()->iocb;
  if (aio::operation_of(what) == aio::opcode::pread)
    *reinterpret_cast<char*>(static_cast<std::uintptr_t>(what.buf)) = 1;
  if (in_flight_.front()->ends_by_itself) files_done_.fetch_add(1, base::memory_order_seq_cst);
  completed_.push_back({.done = in_flight_.front(), .res = 1});
  in_flight_.erase(in_flight_.begin());
  notify_locked();
}

// Each completion is an edge.
void device::notify_locked() {
  const std::uint64_t one = 1;
  if (descriptor_) REQUIRE(::write(descriptor_.get(), &one, sizeof one) == sizeof one);
  changed_.notify_one();
}

void device::start(std::span<aio::request* const> requests) {
  const base::mutex_lock held{lock_};
  in_flight_.insert(in_flight_.end(), requests.begin(), requests.end());
  started_some_.notify_one();
}

bool device::cancel(aio::request& started) {
  const base::mutex_lock held{lock_};
  if (std::exchange(busy_, false)) return false;
  const auto found = std::ranges::find(in_flight_, &started);
  if (found == in_flight_.end() || stubborn_) return true;
  in_flight_.erase(found);
  if (started.ends_by_itself) files_done_.fetch_add(1, base::memory_order_seq_cst);
  completed_.push_back({.done = &started, .res = -ECANCELED});
  notify_locked();
  return true;
}

std::size_t device::reap(std::span<aio::completion> completions) noexcept {
  const base::mutex_lock held{lock_};
  const auto count = std::min(singly_ ? 1 : completions.size(), completed_.size());
  std::copy_n(completed_.begin(), count, completions.begin());
  for (const auto& each : completions.first(count))
    if (each.done->ends_by_itself) files_done_.fetch_sub(1, base::memory_order_seq_cst);
  completed_.erase(completed_.begin(), completed_.begin() + static_cast<std::ptrdiff_t>(count));
  std::uint64_t told = 0;
  if (count > 0 && completed_.empty() && descriptor_) REQUIRE(::read(descriptor_.get(), &told, sizeof told) > 0);
  return count;
}

bool device::wait(base::deadline until) {
  const base::mutex_lock held{lock_};
  bool in_time = true;
  while (completed_.empty() && !woken_ && in_time) {
    if (until)
      in_time = changed_.wait_until(lock_, *until);
    else
      changed_.wait(lock_);
  }
  woken_ = false;
  return in_time;
}

void device::wake() noexcept {
  const base::mutex_lock held{lock_};
  woken_ = true;
  changed_.notify_one();
}

bool device::is_idle() {
  const base::mutex_lock held{lock_};
  return in_flight_.empty() && completed_.empty();
}

int device::descriptor() {
  const base::mutex_lock held{lock_};
  if (!descriptor_) descriptor_.reset(::eventfd(completed_.empty() ? 0 : 1, EFD_CLOEXEC | EFD_NONBLOCK));
  return descriptor_.get();
}

void device::close_descriptor() {
  const base::mutex_lock held{lock_};
  descriptor_.reset();
}

model_engine::model_engine() : device_{std::make_shared<device>()} { made_last = device_; }

model_engine::~model_engine() {
  REQUIRE(device_->is_idle());
  device_->close_descriptor();
}

std::size_t model_engine::start(std::span<aio::request* const> requests) noexcept {
  device_->start(requests);
  return requests.size();
}

aio::engine::cancel_result model_engine::cancel(aio::request& started) noexcept {
  return device_->cancel(started) ? cancel_result::asked : cancel_result::try_again;
}

std::size_t model_engine::reap(std::span<aio::completion> completions) noexcept { return device_->reap(completions); }

aio::engine::wait_result model_engine::wait(base::deadline until) noexcept {
  return device_->wait(until) ? wait_result::ready : wait_result::timed_out;
}

}  // namespace doorbell::model

namespace doorbell {

// Starts the threads of process-wide objects, which are created again for each execution. Workers rest asleep while
// they have no work.
std::error_code base::start_background_thread(const char* name, void (*body)(void*) noexcept, void* argument) noexcept {
  const std::string_view which{name};
  model::start_in_background(which, body, argument, which == "doorbell-worker");
  if (which == "doorbell-reaper") model::before_end([] { aio::reaper::process().forget_all(); });
  return {};
}

// A scenario ends when its function returns, not with its last thread.
bool base::only_background_threads_are_left() noexcept { return false; }

// Only the scenario's threads write to kernel eventfds.
bool forward_helper::post(job& /*work*/) noexcept { return false; }
void forward_helper::relieve() noexcept {}

}  // namespace doorbell

// Replaces the functions that choose an engine, handle forks, and complete requests inline. Scenarios do not explore
// those.
namespace doorbell::aio {

std::unique_ptr<engine> make_engine(engine_kind /*wanted*/, unsigned /*in_flight*/, std::error_code& /*ec*/) noexcept {
  return std::make_unique<model::model_engine>();
}

void expect_forks() noexcept {}
void become_child() noexcept {}

// The engine gets every request: none is completed inline.
bool is_plain_read(const iocb_abi& /*asked*/) noexcept { return false; }
std::optional<std::int64_t> try_read_inline(const iocb_abi& /*asked*/, file_hints::kind /*hint*/,
                                            file_hints& /*hints*/) noexcept {
  return std::nullopt;
}
request::inline_policy when_to_try(const request& /*checked*/, const file_facts& /*file*/, bool /*as_the_kernel*/,
                                   bool /*was_tried*/, file_hints& /*hints*/) noexcept {
  return request::inline_policy::never;
}
std::optional<std::int64_t> transfer_inline(const request& /*checked*/, file_hints& /*hints*/) noexcept {
  return std::nullopt;
}

}  // namespace doorbell::aio
