// SPDX-License-Identifier: Apache-2.0
//
// Memory that the code under test maps has the same addresses in each execution, because operations may depend on the
// addresses (a context's place in the table does). A second mapping, by mremap(2) with an old size of 0, is the same
// memory.
#include <sys/mman.h>

#include <cstdarg>
#include <cstddef>
#include <cstdint>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace {

using doorbell::model::is_tracked;
using doorbell::model::not_tracked;
using doorbell::model::scheduler;

constexpr std::uintptr_t first_address = std::uintptr_t{1} << 44;
constexpr std::size_t distance = std::size_t{1} << 20;
constinit std::uintptr_t next_address = first_address;

void* take_address() {
  scheduler::one().at_end([] { next_address = first_address; });
  void* const address = reinterpret_cast<void*>(next_address);
  next_address += distance;
  return address;
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

void* __real_mmap(void*, size_t, int, int, int, off_t);
void* __real_mremap(void*, size_t, size_t, int, ...);

void* __wrap_mmap(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  if (at != nullptr || !is_tracked) return __real_mmap(at, bytes, protection, flags, fd, offset);
  const not_tracked here;
  void* const made = __real_mmap(take_address(), bytes, protection, flags | MAP_FIXED_NOREPLACE, fd, offset);
  scheduler::one().all_memory().add_mapping(made, bytes);
  return made;
}

void* __wrap_mremap(void* at, size_t old_bytes, size_t new_bytes, int flags, ...) {
  if (!is_tracked) return __real_mremap(at, old_bytes, new_bytes, flags);
  const not_tracked here;
  void* const made = __real_mremap(at, old_bytes, new_bytes, flags | MREMAP_FIXED, take_address());
  scheduler::one().all_memory().add_mapping(made, new_bytes, at);
  return made;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
