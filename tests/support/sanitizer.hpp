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

// In a child of a process with threads, no sanitizer of g++ 12 is itself: ThreadSanitizer ends the child as soon as
// that starts threads of its own ("dup thread with used id"), and AddressSanitizer may have inherited its locks from a
// thread that is not there, and then a new thread never gets to its first instruction. (clang 19's takes them around
// the fork; with that one, the tests that are skipped for this pass.)

/// Whether that is ThreadSanitizer.
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

/// g++ 12's ThreadSanitizer ends a child whose new thread gets the stack, and so the id, of a thread of the parent
/// ("dup thread with used id"). clang's does not.
#if defined(__clang__)
inline constexpr bool ends_children_that_use_stacks_again = false;
#else
inline constexpr bool ends_children_that_use_stacks_again = thread_sanitized;
#endif

}  // namespace doorbell::test
