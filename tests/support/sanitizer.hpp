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

}  // namespace doorbell::test
