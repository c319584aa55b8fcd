// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace doorbell::test {

/// Whether this process runs under AddressSanitizer or ThreadSanitizer. They map terabytes of memory, and do not work
/// without these mappings.
///
/// g++ 12's sanitizers do not work in the child of a process with threads. ThreadSanitizer ends the child as soon as it
/// starts threads ("dup thread with used id"). AddressSanitizer's locks may be held in the child by a thread that does
/// not exist there, and then a new thread never reaches its first instruction. (clang 19's AddressSanitizer acquires
/// the locks around the fork; with it, the tests that are skipped for this reason pass.)
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

/// Whether this process runs under ThreadSanitizer.
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

/// Whether ThreadSanitizer ends a child whose new thread gets the stack, and so the id, of a thread of the parent ("dup
/// thread with used id"). g++ 12's does; clang's does not.
#if defined(__clang__)
inline constexpr bool ends_children_that_use_stacks_again = false;
#else
inline constexpr bool ends_children_that_use_stacks_again = thread_sanitized;
#endif

}  // namespace doorbell::test
