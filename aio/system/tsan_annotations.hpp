// SPDX-License-Identifier: Apache-2.0
//
// Annotations for happens-before edges that pass through the kernel, where ThreadSanitizer does not see them: what the
// submitter of a request did happens before its completion is read. All such annotations of the engines are calls of
// these functions.
//
// The edge is real: the submission queue's tail is stored with release before the kernel reads the entry, and the
// kernel posts the completion with release before the library reads it with acquire. ThreadSanitizer does not see the
// part in the kernel.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <tuple>

#include <doorbell/base/private_fd.hpp>

#if defined(__SANITIZE_THREAD__)
#define DOORBELL_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DOORBELL_THREAD_SANITIZER 1
#endif
#endif

#if defined(DOORBELL_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace doorbell::aio::tsan_annotations {

/// Call before the kernel can see the request. Pairs with happens_after() on the same address.
inline void happens_before([[maybe_unused]] void* request) noexcept {
#if defined(DOORBELL_THREAD_SANITIZER)
  __tsan_release(request);
#endif
}

/// Call before the kernel adds to an eventfd. For ThreadSanitizer, the write of 0 bytes is a release, which the
/// program's read of the eventfd acquires.
inline void happens_before_by([[maybe_unused]] const base::private_fd& eventfd) noexcept {
#if defined(DOORBELL_THREAD_SANITIZER)
  const std::uint64_t nothing = 0;
  std::ignore = ::write(eventfd.get(), &nothing, 0);
#endif
}

/// Call after the completion of the request has been seen.
inline void happens_after([[maybe_unused]] void* request) noexcept {
#if defined(DOORBELL_THREAD_SANITIZER)
  __tsan_acquire(request);
#endif
}

// One context may get memory at an address that another context has unmapped. The kernel ensures that the other one no
// longer uses that memory. ThreadSanitizer does not know this: liburing makes its system calls itself, and
// ThreadSanitizer does not intercept mremap(2).
inline constinit char address_space = 0;

/// Call before memory is unmapped. Pairs with mapped().
inline void unmap() noexcept { happens_before(&address_space); }
/// Call after memory has been mapped.
inline void mapped() noexcept { happens_after(&address_space); }

}  // namespace doorbell::aio::tsan_annotations
