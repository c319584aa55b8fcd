// SPDX-License-Identifier: Apache-2.0
//
// The model checker's versions of the types in doorbell/base/atomic.hpp and in the seam of doorbell/base/mutex.hpp.
// Before each operation, the checker's scheduler may run other threads. Only doorbell/base/atomic.hpp includes this
// header.
//
// Without weak memory (--weak 0), values are sequentially consistent, and the memory orders determine only
// happens-before, and so the data races that the checker reports: an order that is too weak is detected where plain
// data depends on it. With weak memory an operation may also use an older store (past_stores.hpp).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <type_traits>

#include <doorbell_model/calls.hpp>

namespace doorbell::base {

using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

namespace seam {

// NOLINTBEGIN(bugprone-sizeof-expression,bugprone-multi-level-implicit-pointer-conversion): T may be a pointer: the
// code accesses the bytes of the pointer itself

/// Atomic operations on an object that this class does not own.
template <class T>
class atomic_operations {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));
  using order = std::memory_order;
  using kind = model::atomic_operation;

 public:
  T load(order how = memory_order_seq_cst) const noexcept { return run(kind::load, {}, how); }
  void store(T value, order how = memory_order_seq_cst) noexcept { run(kind::store, value, how); }
  T exchange(T value, order how = memory_order_seq_cst) noexcept { return run(kind::exchange, value, how); }
  T fetch_add(T value, order how = memory_order_seq_cst) noexcept { return run(kind::add, value, how); }
  T fetch_sub(T value, order how = memory_order_seq_cst) noexcept { return run(kind::subtract, value, how); }
  T fetch_and(T value, order how = memory_order_seq_cst) noexcept { return run(kind::bit_and, value, how); }
  T fetch_or(T value, order how = memory_order_seq_cst) noexcept { return run(kind::bit_or, value, how); }
  T fetch_xor(T value, order how = memory_order_seq_cst) noexcept { return run(kind::bit_xor, value, how); }

  bool compare_exchange_strong(T& expected, T desired, order success, order failure) noexcept {
    auto before = to_bits(expected);
    const bool done =
        model::compare_exchange(static_cast<void*>(at_), sizeof(T), before, to_bits(desired), success, failure);
    expected = from_bits(before);
    return done;
  }
  bool compare_exchange_strong(T& expected, T desired, order how = memory_order_seq_cst) noexcept {
    return compare_exchange_strong(expected, desired, how, without_release(how));
  }
  // Never fails spuriously.
  bool compare_exchange_weak(T& expected, T desired, order success, order failure) noexcept {
    return compare_exchange_strong(expected, desired, success, failure);
  }
  bool compare_exchange_weak(T& expected, T desired, order how = memory_order_seq_cst) noexcept {
    return compare_exchange_strong(expected, desired, how);
  }

 protected:
  constexpr explicit atomic_operations(T* at) noexcept : at_{at} {}
  ~atomic_operations() = default;

 private:
  T run(kind what, T operand, order how) const noexcept {
    return from_bits(model::atomic_step(what, static_cast<void*>(at_), sizeof(T), to_bits(operand), how));
  }
  static std::uint64_t to_bits(T value) noexcept {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
  }
  static T from_bits(std::uint64_t bits) noexcept {
    T value{};
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  static constexpr order without_release(order how) noexcept {
    if (how == memory_order_acq_rel) return memory_order_acquire;
    return how == memory_order_release ? memory_order_relaxed : how;
  }

  T* at_;
};

// NOLINTEND(bugprone-sizeof-expression,bugprone-multi-level-implicit-pointer-conversion)

}  // namespace seam

template <class T>
class atomic_ref : public seam::atomic_operations<T> {
 public:
  explicit atomic_ref(T& where) noexcept : seam::atomic_operations<T>{&where} {}
};

/// Like std::atomic, with the operations that doorbell uses. The construction is a plain write: a thread that accesses
/// the atomic without synchronizing with its creator races.
template <class T>
class atomic {
  using order = std::memory_order;

 public:
  constexpr atomic() noexcept : atomic{T{}} {}
  // NOLINTNEXTLINE(google-explicit-constructor): as std::atomic's
  constexpr atomic(T value) noexcept : value_{value} {
    if (!std::is_constant_evaluated()) model::new_object(static_cast<const void*>(&value_));
  }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(order how = memory_order_seq_cst) const noexcept { return on(const_cast<T&>(value_)).load(how); }
  void store(T value, order how = memory_order_seq_cst) noexcept { on(value_).store(value, how); }
  T exchange(T value, order how = memory_order_seq_cst) noexcept { return on(value_).exchange(value, how); }
  T fetch_add(T value, order how = memory_order_seq_cst) noexcept { return on(value_).fetch_add(value, how); }
  T fetch_sub(T value, order how = memory_order_seq_cst) noexcept { return on(value_).fetch_sub(value, how); }
  T fetch_and(T value, order how = memory_order_seq_cst) noexcept { return on(value_).fetch_and(value, how); }
  T fetch_or(T value, order how = memory_order_seq_cst) noexcept { return on(value_).fetch_or(value, how); }
  T fetch_xor(T value, order how = memory_order_seq_cst) noexcept { return on(value_).fetch_xor(value, how); }
  template <class... Orders>
  bool compare_exchange_strong(T& expected, T desired, Orders... how) noexcept {
    return on(value_).compare_exchange_strong(expected, desired, how...);
  }
  template <class... Orders>
  bool compare_exchange_weak(T& expected, T desired, Orders... how) noexcept {
    return on(value_).compare_exchange_weak(expected, desired, how...);
  }

 private:
  static atomic_ref<T> on(T& value) noexcept { return atomic_ref<T>{value}; }

  T value_;
};

namespace seam {

class mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() noexcept { model::lock(this, owner_); }
  void unlock() noexcept { model::unlock(this, owner_); }
  [[nodiscard]] bool try_lock() noexcept { return model::try_lock(this, owner_); }

 private:
  int owner_ = model::nobody;
};

class condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  void wait(std::unique_lock<mutex>& held) noexcept {
    sleep(*held.mutex(), false);
    held.mutex()->lock();
  }
  /// Any timeout may expire at any moment.
  std::cv_status wait_until(std::unique_lock<mutex>& held, std::chrono::steady_clock::time_point /*when*/) noexcept {
    const bool woken = sleep(*held.mutex(), true);
    held.mutex()->lock();
    return woken ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  void notify_one() noexcept { model::wake(this, 1); }
  void notify_all() noexcept { model::wake(this, model::everybody); }

 private:
  bool sleep(mutex& held, bool timed) noexcept {
    return model::unlock_and_sleep(this, [](void* which) { static_cast<mutex*>(which)->unlock(); }, &held, timed);
  }
};

}  // namespace seam
}  // namespace doorbell::base
