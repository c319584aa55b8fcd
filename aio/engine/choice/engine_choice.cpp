// SPDX-License-Identifier: Apache-2.0
#include "engine_choice.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>

#include <doorbell/base/atomic.hpp>

#include "../engine_names.hpp"
#include "engine_failover.hpp"

namespace doorbell::aio {
namespace {

constexpr const char* variable = "DOORBELL_ENGINE";

void complain_once(const char* name) noexcept {
  static base::atomic<bool> has_complained{false};
  if (has_complained.exchange(true, base::memory_order_relaxed)) return;
  std::fprintf(stderr, "doorbell: %s=%s names no engine; there are io_uring (or uring) and threads\n", variable, name);
}

engine_kind asked_by_environment(std::error_code& ec) noexcept {
  const char* const name = ::secure_getenv(variable);
  if (name == nullptr || *name == '\0') return engine_kind::automatic;
  if (const auto kind = engine_named(name)) return *kind;
  complain_once(name);
  ec = std::make_error_code(std::errc::invalid_argument);
  return engine_kind::automatic;
}

// Not for a shortage of memory or descriptors, which may be over when the next context is created.
bool is_refusal(const std::error_code& error) noexcept {
  return error == std::errc::function_not_supported || error == std::errc::operation_not_permitted ||
         error == std::errc::permission_denied;
}

/// The engine of all contexts that do not request one: first the choice of the environment; threads after the system
/// has refused io_uring.
base::atomic<engine_kind> decided{engine_kind::automatic};
base::atomic<bool> environment_is_read{false};  // release: decided has been stored

std::unique_ptr<engine> make_uring(unsigned in_flight, std::error_code& ec) noexcept {
  auto ring = engine_uring::make(in_flight, ec);
  if (ring == nullptr) return nullptr;
  std::unique_ptr<engine> made{new (std::nothrow) engine_failover{std::move(ring), in_flight}};
  if (made == nullptr) ec = std::make_error_code(std::errc::not_enough_memory);
  return made;
}

// The kernel's io_setup(2) needs neither descriptors nor locked memory, so a shortage of them must not make a setup
// fail: this context gets threads. After a refusal, all further contexts get threads without another attempt.
std::unique_ptr<engine> make_what_is_allowed(unsigned in_flight, std::error_code& ec) noexcept {
  if (auto made = make_uring(in_flight, ec)) return made;
  if (is_refusal(ec)) decided.store(engine_kind::threads, base::memory_order_relaxed);
  ec.clear();
  return engine_threads::make(ec, in_flight);
}

engine_kind choice_of_process(std::error_code& ec) noexcept {
  if (environment_is_read.load(base::memory_order_acquire)) return decided.load(base::memory_order_relaxed);
  const auto asked = asked_by_environment(ec);
  if (ec) return asked;
  decided.store(asked, base::memory_order_relaxed);
  environment_is_read.store(true, base::memory_order_release);
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
      return make_uring(in_flight, ec);
    case engine_kind::threads:
      return engine_threads::make(ec, in_flight);
  }
  ec = std::make_error_code(std::errc::invalid_argument);
  return nullptr;
}

}  // namespace doorbell::aio
