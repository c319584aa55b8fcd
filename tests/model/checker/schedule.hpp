// SPDX-License-Identifier: Apache-2.0
//
// schedule: the order of the threads in an execution, written as "a3.b.a12.=1.b2": three steps of the first thread, one
// of the second, twelve of the first; then alternative 1, the second one, of a choice that the scenario or the kernel
// had; then two steps of the second thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vector_clock.hpp"

namespace doorbell::model {

class schedule {
 public:
  void clear() noexcept { entries_.clear(); }
  void add_step(thread_id of) { entries_.push_back({.is_pick = false, .value = of}); }
  void add_pick(unsigned alternative) { entries_.push_back({.is_pick = true, .value = alternative}); }

  [[nodiscard]] std::string to_string() const;
  /// @return nothing if the text is not a schedule.
  [[nodiscard]] static std::optional<schedule> parse(std::string_view text);

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  /// The entry at `place`: a thread, or an alternative. Nothing if the entry is of the other kind, or the schedule ends
  /// before.
  [[nodiscard]] std::optional<thread_id> step_at(std::size_t place) const noexcept { return at(place, false); }
  [[nodiscard]] std::optional<unsigned> pick_at(std::size_t place) const noexcept { return at(place, true); }

 private:
  struct entry {
    bool is_pick;
    unsigned value;
    friend bool operator==(const entry&, const entry&) = default;
  };

  [[nodiscard]] std::optional<unsigned> at(std::size_t place, bool pick) const noexcept {
    if (place >= entries_.size() || entries_[place].is_pick != pick) return std::nullopt;
    return entries_[place].value;
  }

  std::vector<entry> entries_;
};

/// The letter of a thread in a schedule: m for the scenario itself, then a, b, c...
[[nodiscard]] constexpr char letter_of(thread_id thread) noexcept {
  return thread == 0 ? 'm' : static_cast<char>('a' + thread - 1);
}

}  // namespace doorbell::model
