// SPDX-License-Identifier: Apache-2.0
//
// request_watcher: somebody who counts requests (libaio's statistics). Nobody does, as a rule: that costs a look at one pointer
// for each batch.
//
// Thread safety: set() before the first context is made. What a watcher is told it is told by all threads, at once, in no order
// but that a request is taken before it is answered.
#pragma once

#include <chrono>
#include <cstdint>

#include <doorbell/aio_iocb.hpp>

namespace doorbell::aio {

class request_watcher {
 public:
  using clock = std::chrono::steady_clock;
  enum class answered_by : std::uint8_t { submit, io_uring, kernel_aio, threads };

  request_watcher() = default;
  request_watcher(const request_watcher&) = delete;
  request_watcher& operator=(const request_watcher&) = delete;

  /// By submit. No locks are held but what the caller of submit holds.
  virtual void taken(const iocb_abi& what) noexcept = 0;
  /// Or not, after all: the engine takes no more.
  virtual void given_back(const iocb_abi& what) noexcept = 0;
  /// @param res the event's. @param after since it was taken.
  virtual void answered(const iocb_abi& what, std::int64_t res, answered_by whom, clock::duration after) noexcept = 0;

  /// Null: nobody watches.
  [[nodiscard]] static request_watcher* current() noexcept { return current_; }
  static void set(request_watcher& from_now_on) noexcept { current_ = &from_now_on; }

 protected:
  ~request_watcher() = default;

 private:
  static inline constinit request_watcher* current_ = nullptr;
};

/// When a request is taken, if somebody wants to know.
[[nodiscard]] inline request_watcher::clock::time_point now_if_watched() noexcept {
  using clock = request_watcher::clock;
  return request_watcher::current() != nullptr ? clock::now() : clock::time_point{};
}

}  // namespace doorbell::aio
