// SPDX-License-Identifier: Apache-2.0
//
// failure: fail() reports a bug that an execution shows, and ends the program. The threads of the execution do not
// continue.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace doorbell::model {

enum class failure : std::uint8_t {
  assertion,
  data_race,
  use_after_free,
  double_free,
  out_of_bounds,
  leak,
  deadlock,
  lost_wakeup,
  livelock,
  lock_order_inversion,
  crash,
  broken_scenario,
};

[[nodiscard]] std::string_view to_string(failure what) noexcept;

/// Receives failures. The program has one.
class failure_sink {
 public:
  failure_sink() = default;
  failure_sink(const failure_sink&) = delete;
  failure_sink& operator=(const failure_sink&) = delete;

  [[noreturn]] virtual void take(failure what, const std::string& text) = 0;

 protected:
  ~failure_sink() = default;
};

void set_failure_sink(failure_sink& sink) noexcept;

/// Ends the execution.
/// @param text the failure, in a sentence without a full stop.
[[noreturn]] void fail(failure what, const std::string& text) noexcept;

/// The name of a thread, for messages.
[[nodiscard]] std::string thread_name(unsigned thread);

/// From now on an assertion, std::terminate, or a signal such as SIGSEGV is a failure.
void catch_crashes() noexcept;

}  // namespace doorbell::model
