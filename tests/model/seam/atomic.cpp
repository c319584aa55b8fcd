// SPDX-License-Identifier: Apache-2.0
//
// Atomic operations. The values are sequentially consistent: an operation takes effect for all when it is carried out. What
// happens before what follows C++: a release is known to whoever acquires it or a later RMW in its release sequence.
#include <doorbell_model/calls.hpp>

#include <cstring>
#include <string>

#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"

namespace doorbell::model {
namespace {

std::uint64_t read(const void* at, std::size_t bytes) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, at, bytes);
  return value;
}

void write(void* at, std::size_t bytes, std::uint64_t value) noexcept { std::memcpy(at, &value, bytes); }

bool acquires(std::memory_order order) noexcept {
  return order != std::memory_order_relaxed && order != std::memory_order_release;
}

bool releases(std::memory_order order) noexcept {
  return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

void acquire(scheduler& all, const object& what) noexcept { all.current().happened.join(what.released); }

void release(scheduler& all, object& what) noexcept {
  auto& me = all.current();
  what.released.join(me.happened);
  me.happened.tick(me.id);
}

const char* name_of(atomic_operation what) noexcept {
  switch (what) {
    case atomic_operation::load:
      return "load";
    case atomic_operation::store:
      return "store";
    case atomic_operation::exchange:
      return "exchange";
    case atomic_operation::add:
      return "add";
    case atomic_operation::subtract:
      return "subtract";
    case atomic_operation::bit_and:
      return "and";
    case atomic_operation::bit_or:
      return "or";
    case atomic_operation::bit_xor:
      return "xor";
  }
  return "atomic";
}

std::uint64_t after(atomic_operation what, std::uint64_t before, std::uint64_t operand) noexcept {
  switch (what) {
    case atomic_operation::load:
      return before;
    case atomic_operation::store:
    case atomic_operation::exchange:
      return operand;
    case atomic_operation::add:
      return before + operand;
    case atomic_operation::subtract:
      return before - operand;
    case atomic_operation::bit_and:
      return before & operand;
    case atomic_operation::bit_or:
      return before | operand;
    case atomic_operation::bit_xor:
      return before ^ operand;
  }
  return before;
}

}  // namespace

std::uint64_t atomic_step(atomic_operation what, void* at, std::size_t bytes, std::uint64_t operand,
                          std::memory_order order) noexcept {
  auto& all = scheduler::one();
  const not_tracked here;
  const bool loads = what == atomic_operation::load;
  if (!all.running()) {
    const auto before = read(at, bytes);
    if (!loads) write(at, bytes, after(what, before, operand));
    return before;
  }
  all.step({.name = name_of(what), .object = at, .writes = !loads});
  all.all_memory().access(all.who(), at, bytes, access_kind::atomic);
  auto& known = all.object_at(at);
  const auto before = read(at, bytes);
  if (what != atomic_operation::store && acquires(order)) acquire(all, known);
  if (what == atomic_operation::store) known.released = {};
  if (!loads && releases(order)) release(all, known);
  if (!loads) write(at, bytes, after(what, before, operand));
  if (all.has_trace()) all.tell(value_text(before, bytes) + (loads ? "" : " -> " + value_text(read(at, bytes), bytes)));
  return before;
}

bool compare_exchange(void* at, std::size_t bytes, std::uint64_t& expected, std::uint64_t desired,
                      std::memory_order success, std::memory_order failure) noexcept {
  auto& all = scheduler::one();
  const not_tracked here;
  if (all.running()) {
    all.step({.name = "compare_exchange", .object = at});
    all.all_memory().access(all.who(), at, bytes, access_kind::atomic);
  }
  const auto before = read(at, bytes);
  const bool done = before == expected;
  if (done) write(at, bytes, desired);
  if (all.running()) {
    auto& known = all.object_at(at);
    if (acquires(done ? success : failure)) acquire(all, known);
    if (done && releases(success)) release(all, known);
    if (all.has_trace())
      all.tell(done ? value_text(before, bytes) + " -> " + value_text(desired, bytes)
                    : "is " + value_text(before, bytes) + ", not " + value_text(expected, bytes));
  }
  expected = before;
  return done;
}

void new_object(const void* at) noexcept {
  const not_tracked here;
  if (auto& all = scheduler::one(); all.running()) all.new_object(at);
}

}  // namespace doorbell::model
