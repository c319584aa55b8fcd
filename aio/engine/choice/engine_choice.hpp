// SPDX-License-Identifier: Apache-2.0
//
// Chooses the engine of a context. A context may request one. All other contexts get the engine that DOORBELL_ENGINE
// names. If the variable is not set, or is empty, they get io_uring; or threads, once the system has refused io_uring.
// A single context also gets threads if there is no memory or descriptor for its ring.
//
// Thread safety: may be called concurrently. Two threads that decide for the process concurrently reach the same
// decision, because the environment and the permissions of the process are the same for both.
#pragma once

#include <memory>
#include <system_error>

#include <doorbell/aio_engine.hpp>

#include "../engine.hpp"

namespace doorbell::aio {

/// @param in_flight the maximum number of requests in flight.
/// Errors: invalid_argument if DOORBELL_ENGINE names no engine (the first time, also a message on stderr); the errors
/// of the engine's make().
[[nodiscard]] std::unique_ptr<engine> make_engine(engine_kind wanted, unsigned in_flight, std::error_code& ec) noexcept;

}  // namespace doorbell::aio
