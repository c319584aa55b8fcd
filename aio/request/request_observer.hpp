// SPDX-License-Identifier: Apache-2.0
//
// request_observer: observes requests (libaio's statistics). Without an observer, which is the usual case, the cost is
// one load of a pointer for each batch.
//
// Thread safety: set() is called before the first context is made. All threads call the observer concurrently. The only
// order is that taken() for a request precedes answered() for it.
#pragma once

#include <chrono>
#include <cstdint>

#include <doorbell/aio_iocb.hpp>

namespace doorbell::aio {

class request_observer {
 public:
  using clock = std::chrono::steady_clock;
  enum class answered_by : std::uint8_t { submit, io_uring, kernel_aio, threads };

  request_observer() = default;
  request_observer(const request_observer&) = delete;
  request_observer& operator=(const request_observer&) = delete;

  /// Called by submit for each request. No lock is held except those that the caller of submit holds.
  virtual void taken(const iocb_abi& what) noexcept = 0;
  /// The engine does not take the request after all.
  virtual void given_back(const iocb_abi& what) noexcept = 0;
  /// @param res the event's. @param after the time since taken().
  virtual void answered(const iocb_abi& what, std::int64_t res, answered_by by, clock::duration after) noexcept = 0;

  /// Null if there is no observer.
  [[nodiscard]] static request_observer* current() noexcept { return current_; }
  static void set(request_observer& from_now_on) noexcept { current_ = &from_now_on; }

 protected:
  ~request_observer() = default;

 private:
  static inline constinit request_observer* current_ = nullptr;
};

/// The current time, if there is an observer; it is the time at which a request is taken.
[[nodiscard]] inline request_observer::clock::time_point now_if_watched() noexcept {
  using clock = request_observer::clock;
  return request_observer::current() != nullptr ? clock::now() : clock::time_point{};
}

}  // namespace doorbell::aio
