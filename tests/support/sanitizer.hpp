// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace doorbell::test {

/// Whether a sanitizer is in this process, which maps memory by the terabyte and does not live without it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

/// Whether that is ThreadSanitizer, which does not keep its threads apart in a child of a process with threads: it ends
/// the child ("dup thread with used id") as soon as that starts threads of its own.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool thread_sanitized = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool thread_sanitized = true;
#else
inline constexpr bool thread_sanitized = false;
#endif
#else
inline constexpr bool thread_sanitized = false;
#endif

}  // namespace doorbell::test
