// SPDX-License-Identifier: Apache-2.0
//
// deferred_completion: passes an ended operation through the loop to its handler's executor. If the loop is destroyed
// first, the operation is destroyed, too. The Asio operation that carries it is allocated inside the file_op:
// many operations may end together, and would otherwise need one allocation each. Asio frees that memory before it
// calls this function object.
//
// Thread safety: not thread-safe; owned by one thread at a time.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <cstddef>
#include <memory>
#include <new>

#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/file/file_op.hpp>
#include <doorbell/asio/detail/file/file_proactor.hpp>

namespace doorbell::asio::detail {

/// Allocates one block of memory at a time, inside the operation if the block is small enough.
template <class T>
class carrier_allocator {
 public:
  using value_type = T;

  explicit carrier_allocator(file_op::carrier& memory) noexcept : memory_{&memory} {}
  template <class U>
  explicit(false) carrier_allocator(const carrier_allocator<U>& other) noexcept : memory_{&other.memory()} {}

  [[nodiscard]] T* allocate(std::size_t n) {
    if (n * sizeof(T) <= file_op::carrier::size && alignof(T) <= alignof(std::max_align_t))
      return static_cast<T*>(memory_->data());
    return std::allocator<T>{}.allocate(n);
  }
  void deallocate(T* place, std::size_t n) noexcept {
    if (place != memory_->data()) std::allocator<T>{}.deallocate(place, n);
  }

  [[nodiscard]] file_op::carrier& memory() const noexcept { return *memory_; }
  template <class U>
  bool operator==(const carrier_allocator<U>& other) const noexcept {
    return memory_ == &other.memory();
  }

 private:
  file_op::carrier* memory_;
};

class deferred_completion {
 public:
  using allocator_type = carrier_allocator<void>;

  explicit deferred_completion(file_op& ended) noexcept : op_{&ended}, memory_{&ended.carried_in} {}

  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type{*memory_}; }
  void operator()() { file_proactor::run_deferred(*op_.release()); }
  /// The signature of a read handler, for the posts of file_service. The result is not used.
  void operator()(const boost::system::error_code& /*ec*/, std::size_t /*bytes*/) { (*this)(); }

 private:
  struct destroyed {
    void operator()(file_op* op) const noexcept { op->destroy(); }
  };

  std::unique_ptr<file_op, destroyed> op_;
  file_op::carrier* memory_;  // valid also when op_ has been moved from
};

}  // namespace doorbell::asio::detail
