// SPDX-License-Identifier: Apache-2.0
#include "engine_choice.hpp"

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <doorbell/base/atomic.hpp>

#include "engine_threads.hpp"
#include "engine_uring.hpp"

namespace doorbell::aio {
namespace {

constexpr const char* variable = "DOORBELL_ENGINE";

/// Null: it names none.
std::optional<engine_kind> named(std::string_view name) noexcept {
  if (name.empty()) return engine_kind::automatic;
  if (name == "io_uring" || name == "uring") return engine_kind::io_uring;
  if (name == "threads") return engine_kind::threads;
  return std::nullopt;
}

void complain_once(const char* name) noexcept {
  static base::atomic<bool> has_complained{false};
  if (has_complained.exchange(true, base::memory_order_relaxed)) return;
  std::fprintf(stderr, "doorbell: %s=%s names no engine; there are io_uring (or uring) and threads\n", variable, name);
}

engine_kind asked_by_environment(std::error_code& ec) noexcept {
  const char* const name = std::getenv(variable);
  const auto kind = named(name != nullptr ? name : "");
  if (kind) return *kind;
  complain_once(name);
  ec = std::make_error_code(std::errc::invalid_argument);
  return engine_kind::automatic;
}

// That there is no memory or no descriptor now says nothing about the next context.
bool is_refusal(const std::error_code& error) noexcept {
  return error == std::errc::function_not_supported || error == std::errc::operation_not_permitted ||
         error == std::errc::permission_denied;
}

/// What automatic means in this process, once that is known. Relaxed: it brings nothing with it.
base::atomic<engine_kind> decided{engine_kind::automatic};

std::unique_ptr<engine> make_what_is_allowed(unsigned in_flight, std::error_code& ec) noexcept {
  if (auto made = engine_uring::make(in_flight, ec)) {
    decided.store(engine_kind::io_uring, base::memory_order_relaxed);
    return made;
  }
  if (!is_refusal(ec)) return nullptr;
  ec.clear();
  decided.store(engine_kind::threads, base::memory_order_relaxed);
  return engine_threads::make(ec);
}

engine_kind choice_of_process(std::error_code& ec) noexcept {
  const auto known = decided.load(base::memory_order_relaxed);
  if (known != engine_kind::automatic) return known;
  const auto asked = asked_by_environment(ec);
  if (asked != engine_kind::automatic) decided.store(asked, base::memory_order_relaxed);
  return asked;
}

}  // namespace

std::unique_ptr<engine> make_engine(engine_kind wanted, unsigned in_flight, std::error_code& ec) noexcept {
  const auto kind = wanted == engine_kind::automatic ? choice_of_process(ec) : wanted;
  if (ec) return nullptr;
  switch (kind) {
    case engine_kind::automatic:
      return make_what_is_allowed(in_flight, ec);
    case engine_kind::io_uring:
      return engine_uring::make(in_flight, ec);
    case engine_kind::threads:
      return engine_threads::make(ec);
  }
  ec = std::make_error_code(std::errc::invalid_argument);
  return nullptr;
}

}  // namespace doorbell::aio
