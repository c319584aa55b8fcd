// SPDX-License-Identifier: Apache-2.0
//
// fatal: ends the program where it has broken a rule of the library and no error can be returned, for example in a
// destructor. Before that it writes one sentence to standard error, which names the rule and the document that has it.
//
// Thread safety: may be called in every context, also under a lock and in a signal handler: it allocates no memory.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <doorbell/base/export.hpp>

namespace doorbell::base {

/// Writes "doorbell: RULE (DOCUMENT)" as one line to standard error and calls std::terminate().
/// @param rule what the program has done and why that cannot be survived; no newline.
/// @param document a file below docs/, and its section.
[[noreturn, gnu::cold]] DOORBELL_EXPORT void fatal(const char* rule, const char* document) noexcept;

}  // namespace doorbell::base
