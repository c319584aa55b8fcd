// SPDX-License-Identifier: Apache-2.0
//
// Each public header includes this header before any other. If the language standard is too old, the compiler's first
// error is then one sentence, and not errors in the standard library's headers.
#pragma once

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "doorbell requires C++20 or later: compile with -std=c++20."
#endif
