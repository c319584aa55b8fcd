// SPDX-License-Identifier: Apache-2.0
//
// Which engine carries a context. A context may ask for one; all others of a process have the same.
//
// Thread safety: may be called at once. Two threads that decide for the process at the same moment find the same answer:
// the environment is one, and so is what the system allows.
#pragma once

#include <memory>
#include <system_error>

#include <doorbell/aio_engine.hpp>

#include "engine.hpp"

namespace doorbell::aio {

/// @param in_flight how many requests there may be at once.
/// Errors: invalid_argument when DOORBELL_ENGINE names no engine (the first time it also says so on stderr); what the
/// engine's own make() says.
[[nodiscard]] std::unique_ptr<engine> make_engine(engine_kind wanted, unsigned in_flight, std::error_code& ec) noexcept;

}  // namespace doorbell::aio
