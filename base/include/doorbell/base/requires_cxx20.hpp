// SPDX-License-Identifier: Apache-2.0
//
// Each public header includes this header before any other. With an older language standard, the compiler's first error
// is then one sentence instead of errors in the standard library's headers.
#pragma once

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "doorbell requires C++20 or later: compile with -std=c++20."
#endif
