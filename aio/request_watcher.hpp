// SPDX-License-Identifier: Apache-2.0
//
// request_watcher: observes requests (libaio's statistics). Without a watcher, which is the usual case, the cost is one
// load of a pointer for each batch.
//
// Thread safety: set() is called before the first context is made. All threads call a watcher concurrently. The only
// order is that taken() for a request precedes answered() for it.
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

  /// Called by submit for each request. No lock is held except those that the caller of submit holds.
  virtual void taken(const iocb_abi& what) noexcept = 0;
  /// The engine does not take the request after all.
  virtual void given_back(const iocb_abi& what) noexcept = 0;
  /// @param res the event's. @param after the time since taken().
  virtual void answered(const iocb_abi& what, std::int64_t res, answered_by whom, clock::duration after) noexcept = 0;

  /// Null if there is no watcher.
  [[nodiscard]] static request_watcher* current() noexcept { return current_; }
  static void set(request_watcher& from_now_on) noexcept { current_ = &from_now_on; }

 protected:
  ~request_watcher() = default;

 private:
  static inline constinit request_watcher* current_ = nullptr;
};

/// The current time, if there is a watcher; it is the time at which a request is taken.
[[nodiscard]] inline request_watcher::clock::time_point now_if_watched() noexcept {
  using clock = request_watcher::clock;
  return request_watcher::current() != nullptr ? clock::now() : clock::time_point{};
}

}  // namespace doorbell::aio
