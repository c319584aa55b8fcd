// SPDX-License-Identifier: Apache-2.0
//
// intrusive_ptr: a reference to an object that counts its references itself, by get() and put(). It has the part of
// boost::intrusive_ptr that doorbell needs; Boost's header would be most of what <doorbell/eventfd.hpp> includes.
//
// Thread safety: that of a plain pointer; each thread has its own copy. The object's type may be incomplete where an
// intrusive_ptr is only named.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cassert>
#include <cstddef>
#include <utility>

namespace doorbell::base {

/// @tparam T has get(), which adds a reference, and put(), which drops one and destroys the object with the last one.
/// Neither throws.
template <class T>
class intrusive_ptr {
 public:
  using element_type = T;

  constexpr intrusive_ptr() noexcept = default;
  constexpr intrusive_ptr(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor): as std::shared_ptr
  /// @param add_reference true: adds a reference; false: takes over a reference that the caller holds.
  // Implicit, because the count is in the object: a plain pointer converts without loss.
  // NOLINTNEXTLINE(google-explicit-constructor)
  intrusive_ptr(T* object, bool add_reference = true) noexcept : object_{object} {
    if (object_ != nullptr && add_reference) object_->get();
  }
  intrusive_ptr(const intrusive_ptr& other) noexcept : intrusive_ptr{other.object_} {}
  intrusive_ptr(intrusive_ptr&& other) noexcept : object_{other.detach()} {}
  intrusive_ptr& operator=(intrusive_ptr other) noexcept {
    swap(other);
    return *this;
  }
  ~intrusive_ptr() {
    if (object_ != nullptr) object_->put();
  }

  /// Drops the reference, if there is one.
  void reset() noexcept { intrusive_ptr{}.swap(*this); }
  /// Passes the reference to the caller; the pointer is null afterwards.
  [[nodiscard]] T* detach() noexcept { return std::exchange(object_, nullptr); }
  void swap(intrusive_ptr& other) noexcept { std::swap(object_, other.object_); }

  [[nodiscard]] T* get() const noexcept { return object_; }
  [[nodiscard]] T& operator*() const noexcept {
    assert(object_ != nullptr);
    return *object_;
  }
  [[nodiscard]] T* operator->() const noexcept {
    assert(object_ != nullptr);
    return object_;
  }
  explicit operator bool() const noexcept { return object_ != nullptr; }

  friend bool operator==(const intrusive_ptr& left, const intrusive_ptr& right) noexcept = default;
  friend bool operator==(const intrusive_ptr& left, std::nullptr_t) noexcept { return left.object_ == nullptr; }
  friend bool operator==(const intrusive_ptr& left, const T* right) noexcept { return left.object_ == right; }

 private:
  T* object_ = nullptr;
};

}  // namespace doorbell::base
