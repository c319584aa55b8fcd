// SPDX-License-Identifier: Apache-2.0
//
// Included before all else by each public header, so that an older language standard is reported by one sentence instead
// of by errors in the standard library's headers.
#pragma once

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "doorbell requires C++20 or later: compile with -std=c++20."
#endif
