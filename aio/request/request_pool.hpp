// SPDX-License-Identifier: Apache-2.0
//
// request_pool: the memory of a context's requests, so that submit does not allocate: a program's allocator may be
// slow, hold locks, or itself wait for I/O.
//
// The pool is mapped when the first request is made, with memory for as many requests as the ring has slots; pages are
// touched only as they are used. More requests may exist for a short time: a slot is free again when its event has been
// fetched, a request's memory when its last reference is dropped. For these, and if the mapping fails, take() returns
// less memory than it was asked for.
//
// With AddressSanitizer and in the model checker, take() always returns none, so that they detect a request that is
// used after its end.
//
// Thread safety: all members may be called concurrently. No other lock is acquired while the pool's lock is held.
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
  /// All memory has been returned.
  ~request_pool();

  /// The maximum number of requests, and the bytes of each. Called before any other member.
  void set_size(std::size_t most, std::size_t bytes) noexcept;

  /// Takes memory for up to `memory.size()` requests. @return how many pointers were stored, at the front of `memory`.
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
  std::size_t used_ DOORBELL_GUARDED_BY(lock_) = 0;  // high-water mark; the memory behind it has never been touched
  spare* spares_ DOORBELL_GUARDED_BY(lock_) = nullptr;
};

}  // namespace doorbell::aio
