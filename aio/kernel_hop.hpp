// SPDX-License-Identifier: Apache-2.0
//
// The edges that go through the kernel or a worker, where ThreadSanitizer cannot see them: whatever a request's submitter
// did happens before its completion is looked at. Every engine says so here, and nowhere else.
//
// The edge is real: the submission queue's tail is stored with release before the kernel reads the entry, and the kernel
// posts the completion with release before we read it with acquire. What is missing is only the kernel's own part.
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

namespace doorbell::aio::kernel_hop {

/// Before the other side may see the request. Pairs with arrive() on the same address.
inline void depart([[maybe_unused]] void* request) noexcept {
#if defined(DOORBELL_THREAD_SANITIZER)
  __tsan_release(request);
#endif
}

/// Before the kernel adds to an eventfd. ThreadSanitizer takes the write of 0 bytes for the release that the program's
/// read of the eventfd acquires.
inline void depart_by([[maybe_unused]] const base::private_fd& eventfd) noexcept {
#if defined(DOORBELL_THREAD_SANITIZER)
  const std::uint64_t nothing = 0;
  std::ignore = ::write(eventfd.get(), &nothing, 0);
#endif
}

/// After its completion has been seen.
inline void arrive([[maybe_unused]] void* request) noexcept {
#if defined(DOORBELL_THREAD_SANITIZER)
  __tsan_acquire(request);
#endif
}

// What one context unmaps, another may get, at the same address, and the kernel sees to it that the first is done with it by
// then. ThreadSanitizer does not know: liburing makes its system calls itself, and mremap(2) is not one that it looks at.
inline constinit char address_space = 0;

/// Before memory is unmapped. Pairs with mapped().
inline void unmap() noexcept { depart(&address_space); }
/// After memory has been mapped.
inline void mapped() noexcept { arrive(&address_space); }

}  // namespace doorbell::aio::kernel_hop
