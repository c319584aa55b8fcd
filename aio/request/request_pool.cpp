// SPDX-License-Identifier: Apache-2.0
#include "request_pool.hpp"

#include <sys/mman.h>

#include <new>

namespace doorbell::aio {
namespace {

#if defined(DOORBELL_MODEL) || defined(__SANITIZE_ADDRESS__)
constexpr bool each_by_itself = true;
#elif defined(__has_feature)
constexpr bool each_by_itself = __has_feature(address_sanitizer);  // clang
#else
constexpr bool each_by_itself = false;
#endif

}  // namespace

request_pool::~request_pool() {
  const base::mutex_lock held{lock_};
  if (memory_ != nullptr) ::munmap(memory_, most_ * bytes_);
}

void request_pool::set_size(std::size_t most, std::size_t bytes) noexcept {
  most_ = most;
  bytes_ = bytes;
}

std::size_t request_pool::take(std::span<void*> memory) noexcept {
  if constexpr (each_by_itself) return 0;
  const base::mutex_lock held{lock_};
  std::size_t taken = 0;
  while (taken < memory.size() && (memory[taken] = take_locked()) != nullptr) ++taken;
  return taken;
}

void* request_pool::take_locked() noexcept {
  if (auto* const found = spares_) {
    spares_ = found->next;
    return found;
  }
  if (used_ == most_ || !map_locked()) return nullptr;
  return memory_ + used_++ * bytes_;
}

bool request_pool::map_locked() noexcept {
  if (memory_ != nullptr) return true;
  void* const made =
      ::mmap(nullptr, most_ * bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made == MAP_FAILED) return false;
  memory_ = static_cast<std::byte*>(made);
  return true;
}

void request_pool::give_back(std::span<void* const> memory) noexcept {
  if (memory.empty()) return;
  const base::mutex_lock held{lock_};
  for (void* each : memory) spares_ = new (each) spare{spares_};
}

}  // namespace doorbell::aio
