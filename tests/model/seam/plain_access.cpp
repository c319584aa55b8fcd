// SPDX-License-Identifier: Apache-2.0
//
// The code under test is compiled with -fsanitize=thread, and linked with these functions instead of ThreadSanitizer's.
// So the model checker sees each plain access to memory, and also the atomic operations that do not use doorbell's
// seam, which are those in headers of the standard library.
#include <doorbell_model/calls.hpp>

#include <cstddef>
#include <cstdint>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace {

using namespace doorbell::model;

void access(const void* at, std::size_t bytes, access_kind how) noexcept {
  if (!is_tracked) return;
  const not_tracked here;
  auto& all = scheduler::one();
  all.all_memory().access(all.who(), at, bytes, how);
}

constexpr std::memory_order order_of(int number) noexcept { return static_cast<std::memory_order>(number); }

template <class Word>
Word atomic(atomic_operation what, volatile Word* at, Word operand, int order) noexcept {
  return static_cast<Word>(atomic_step(what, const_cast<Word*>(at), sizeof(Word), operand, order_of(order)));
}

template <class Word>
bool exchange_if(volatile Word* at, Word* expected, Word desired, int success, int failure) noexcept {
  std::uint64_t before = *expected;
  const bool done =
      compare_exchange(const_cast<Word*>(at), sizeof(Word), before, desired, order_of(success), order_of(failure));
  *expected = static_cast<Word>(before);
  return done;
}

}  // namespace

// The compilers define these names and arguments.
// NOLINTBEGIN(readability-identifier-naming,bugprone-macro-parentheses)
extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void* /*caller*/) {}
void __tsan_func_exit() {}

#define DOORBELL_MODEL_PLAIN(bytes)                                                     \
  void __tsan_read##bytes(void* at) { access(at, bytes, access_kind::read); }           \
  void __tsan_write##bytes(void* at) { access(at, bytes, access_kind::write); }         \
  void __tsan_unaligned_read##bytes(void* at) { access(at, bytes, access_kind::read); } \
  void __tsan_unaligned_write##bytes(void* at) { access(at, bytes, access_kind::write); }
DOORBELL_MODEL_PLAIN(1)
DOORBELL_MODEL_PLAIN(2)
DOORBELL_MODEL_PLAIN(4)
DOORBELL_MODEL_PLAIN(8)
DOORBELL_MODEL_PLAIN(16)
#undef DOORBELL_MODEL_PLAIN

void __tsan_read_range(void* at, std::size_t bytes) { access(at, bytes, access_kind::read); }
void __tsan_write_range(void* at, std::size_t bytes) { access(at, bytes, access_kind::write); }
void __tsan_vptr_read(void** at) { access(static_cast<const void*>(at), sizeof *at, access_kind::read); }
// A destructor that stores the same pointer again counts as a read.
void __tsan_vptr_update(void** at, void* value) {
  access(static_cast<const void*>(at), sizeof *at, *at == value ? access_kind::read : access_kind::write);
}

// base/rcu.hpp annotates its edges for ThreadSanitizer. The model checker's rcu.cpp establishes them itself.
void __tsan_acquire(void* /*at*/) {}
void __tsan_release(void* /*at*/) {}

#define DOORBELL_MODEL_ATOMIC(bits)                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_load(const volatile std::uint##bits##_t* at, int order) {                \
    return atomic<std::uint##bits##_t>(atomic_operation::load, const_cast<volatile std::uint##bits##_t*>(at), 0,     \
                                       order);                                                                       \
  }                                                                                                                  \
  void __tsan_atomic##bits##_store(volatile std::uint##bits##_t* at, std::uint##bits##_t value, int order) {         \
    atomic(atomic_operation::store, at, value, order);                                                               \
  }                                                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_exchange(volatile std::uint##bits##_t* at, std::uint##bits##_t value,    \
                                                     int order) {                                                    \
    return atomic(atomic_operation::exchange, at, value, order);                                                     \
  }                                                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile std::uint##bits##_t* at, std::uint##bits##_t value,   \
                                                      int order) {                                                   \
    return atomic(atomic_operation::add, at, value, order);                                                          \
  }                                                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_fetch_sub(volatile std::uint##bits##_t* at, std::uint##bits##_t value,   \
                                                      int order) {                                                   \
    return atomic(atomic_operation::subtract, at, value, order);                                                     \
  }                                                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_fetch_and(volatile std::uint##bits##_t* at, std::uint##bits##_t value,   \
                                                      int order) {                                                   \
    return atomic(atomic_operation::bit_and, at, value, order);                                                      \
  }                                                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_fetch_or(volatile std::uint##bits##_t* at, std::uint##bits##_t value,    \
                                                     int order) {                                                    \
    return atomic(atomic_operation::bit_or, at, value, order);                                                       \
  }                                                                                                                  \
  std::uint##bits##_t __tsan_atomic##bits##_fetch_xor(volatile std::uint##bits##_t* at, std::uint##bits##_t value,   \
                                                      int order) {                                                   \
    return atomic(atomic_operation::bit_xor, at, value, order);                                                      \
  }                                                                                                                  \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile std::uint##bits##_t* at, std::uint##bits##_t* expected, \
                                                    std::uint##bits##_t desired, int success, int failure) {         \
    return exchange_if(at, expected, desired, success, failure);                                                     \
  }                                                                                                                  \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile std::uint##bits##_t* at, std::uint##bits##_t* expected,   \
                                                  std::uint##bits##_t desired, int success, int failure) {           \
    return exchange_if(at, expected, desired, success, failure);                                                     \
  }
DOORBELL_MODEL_ATOMIC(8)
DOORBELL_MODEL_ATOMIC(16)
DOORBELL_MODEL_ATOMIC(32)
DOORBELL_MODEL_ATOMIC(64)
#undef DOORBELL_MODEL_ATOMIC

}  // extern "C"
// NOLINTEND(readability-identifier-naming,bugprone-macro-parentheses)
