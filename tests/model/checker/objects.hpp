// SPDX-License-Identifier: Apache-2.0
//
// objects: the state of the addresses that the operations of this execution have used.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "failure.hpp"
#include "past_stores.hpp"
#include "vector_clock.hpp"

namespace doorbell::model {

/// The last operation of a thread on an object, as a place in the path of an execution.
struct last_visit {
  static constexpr int never = -1;
  int step = never;
  std::uint32_t tick = 0;  // the thread's own component in its clock of dependences
};

struct object {
  const void* at = nullptr;
  std::uint32_t round = 0;
  unsigned number = 0;  // in the order of first use

  vector_clock released;  // C++: the clock that an acquire gets
  past_stores past;       // of an atomic, with weak memory
  vector_clock wakers;    // the union of what the callers of wake() knew

  // Dependences, for the depth-first search.
  vector_clock visited;
  vector_clock written;
  std::array<last_visit, max_threads> last_read;
  std::array<last_visit, max_threads> last_write;
};

class objects {
 public:
  /// Forgets all objects.
  void clear() noexcept {
    ++round_;
    count_ = 0;
  }

  [[nodiscard]] object& find(const void* at) noexcept {
    for (auto place = hash(at);; place = (place + 1) % size) {
      auto& found = table_[place];
      if (found.round == round_ && found.at == at) return found;
      if (found.round != round_) return begin(found, at);
    }
  }

  /// From now on the address has a new object.
  void forget(const void* at) noexcept {
    auto& known = find(at);
    const auto number = known.number;
    known = {.at = at,
             .round = round_,
             .number = number,
             .released = {},
             .past = {},
             .wakers = {},
             .visited = {},
             .written = {},
             .last_read = {},
             .last_write = {}};
  }

 private:
  static constexpr std::size_t size = 4096;

  static std::size_t hash(const void* at) noexcept {
    return (reinterpret_cast<std::uintptr_t>(at) >> 2) * 0x9e3779b97f4a7c15U >> 52;
  }

  object& begin(object& place, const void* at) noexcept {
    if (++count_ > size / 2) fail(failure::broken_scenario, "more objects than the model checker can tell apart");
    place = {.at = at,
             .round = round_,
             .number = count_,
             .released = {},
             .past = {},
             .wakers = {},
             .visited = {},
             .written = {},
             .last_read = {},
             .last_write = {}};
    return place;
  }

  std::array<object, size> table_;
  std::uint32_t round_ = 1;
  unsigned count_ = 0;
};

}  // namespace doorbell::model
