// SPDX-License-Identifier: Apache-2.0
//
// new and delete of the code under test use the arena, those of the model checker the C library.
#include <cstdlib>
#include <new>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace {

using doorbell::model::is_tracked;
using doorbell::model::not_tracked;
using doorbell::model::scheduler;

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (is_tracked) {
    auto& all = scheduler::one();
    const not_tracked here;
    return all.all_memory().allocate(all.who(), bytes, alignment);
  }
  const auto rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const made = std::aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
  if (made == nullptr) throw std::bad_alloc{};
  return made;
}

void release(void* at) noexcept {
  auto& all = scheduler::one();
  if (at == nullptr) return;
  if (!all.all_memory().owns(at)) return std::free(at);
  const not_tracked here;
  all.all_memory().release(all.who(), at);
}

constexpr std::size_t usual = alignof(std::max_align_t);

}  // namespace

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): they are all here
void* operator new(std::size_t bytes) { return allocate(bytes, usual); }
void* operator new[](std::size_t bytes) { return allocate(bytes, usual); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, usual); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, usual); }
void* operator new(std::size_t bytes, std::align_val_t by) { return allocate(bytes, static_cast<std::size_t>(by)); }
void* operator new[](std::size_t bytes, std::align_val_t by) { return allocate(bytes, static_cast<std::size_t>(by)); }

void operator delete(void* at) noexcept { release(at); }
void operator delete[](void* at) noexcept { release(at); }
void operator delete(void* at, std::size_t) noexcept { release(at); }
void operator delete[](void* at, std::size_t) noexcept { release(at); }
void operator delete(void* at, std::align_val_t) noexcept { release(at); }
void operator delete[](void* at, std::align_val_t) noexcept { release(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { release(at); }
void operator delete[](void* at, std::size_t, std::align_val_t) noexcept { release(at); }
void operator delete(void* at, const std::nothrow_t&) noexcept { release(at); }
void operator delete[](void* at, const std::nothrow_t&) noexcept { release(at); }
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
