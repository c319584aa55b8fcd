// SPDX-License-Identifier: Apache-2.0
//
// request_pool: the memory of a context's requests, so that to submit is not to allocate: a program's allocator may be slow,
// hold locks, or be what its I/O is about.
//
// Mapped when the first request is made, for as many as the ring takes, and touched as far as it is used. There may be a few
// more: a slot is free again as soon as its event has been got, its request's memory when the last reference is dropped. For
// those, or where nothing can be mapped, it says so.
//
// For AddressSanitizer and for the model checker it is always so, or neither would see that a request is used after its end.
//
// Thread safety: all, at once. The lock is a leaf.
#pragma once

#include <cstddef>
#include <span>

#include <doorbell/base/mutex.hpp>

namespace doorbell::aio {

class request_pool {
 public:
  request_pool() = default;
  request_pool(const request_pool&) = delete;
  request_pool& operator=(const request_pool&) = delete;
  /// All have been given back.
  ~request_pool();

  /// How many there may be, of so many bytes. Before anything else.
  void set_size(std::size_t most, std::size_t bytes) noexcept;

  /// Memory for so many. @return for how many of them there is some, at the front.
  [[nodiscard]] std::size_t take(std::span<void*> memory) noexcept;
  void give_back(std::span<void* const> memory) noexcept;

 private:
  struct spare {
    spare* next;
  };

  [[nodiscard]] void* take_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] bool map_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  std::size_t most_ = 0;
  std::size_t bytes_ = 0;  // of each

  base::mutex lock_;
  std::byte* memory_ DOORBELL_GUARDED_BY(lock_) = nullptr;
  std::size_t used_ DOORBELL_GUARDED_BY(lock_) = 0;  // at one time or another; behind them nothing has been touched
  spare* spares_ DOORBELL_GUARDED_BY(lock_) = nullptr;
};

}  // namespace doorbell::aio
