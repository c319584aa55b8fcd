// SPDX-License-Identifier: Apache-2.0
//
// fatal: ends the program when it has broken a rule of the library and no error can be returned, for example in a
// destructor. First it writes one sentence to standard error, with the rule and the document that states it.
//
// Thread safety: may be called concurrently and in every context, also under a lock and in a signal handler, since it
// allocates no memory.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <doorbell/base/export.hpp>

namespace doorbell::base {

/// Writes "doorbell: RULE (DOCUMENT)" as one line to standard error and calls std::terminate().
/// @param rule one sentence: the broken rule, and why the program cannot go on; no newline.
/// @param document a file below docs/, and its section.
[[noreturn, gnu::cold]] DOORBELL_EXPORT void fatal(const char* rule, const char* document) noexcept;

}  // namespace doorbell::base
