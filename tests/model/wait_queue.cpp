// SPDX-License-Identifier: Apache-2.0
//
// wait_queue: walks during which entries are removed.
#include <doorbell/base/wait_queue.hpp>

#include <array>
#include <memory>

#include <doorbell/base/mutex.hpp>
#include <doorbell/base/walk_scope.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::mutex;
using base::mutex_lock;
using base::wait_entry;
using base::wait_queue;
using base::walk_scope;
using exclusive = wait_queue::exclusive;

struct queue_of_three;

struct counted_entry : wait_entry {
  counted_entry(queue_of_three& where, unsigned which, bool takes_turns)
      : wait_entry{&counted_entry::on_wake, takes_turns}, queue{where}, number{which} {}
  static int on_wake(wait_entry& woken, unsigned events) noexcept;

  queue_of_three& queue;
  const unsigned number;
};

/// A queue of three entries. An entry that is visited may remove and free any of the three, including itself.
struct queue_of_three {
  explicit queue_of_three(bool exclusive_too) {
    for (unsigned i = 0; i < entries.size(); ++i) {
      entries[i] = std::make_unique<counted_entry>(*this, i, exclusive_too && i > 0);
      queue.add(*entries[i]);
    }
  }
  ~queue_of_three() {
    for (unsigned i = 0; i < entries.size(); ++i) remove(i);
  }
  void remove(unsigned which) {
    if (entries[which] == nullptr) return;
    queue.remove(*entries[which]);
    entries[which] = nullptr;
  }
  void walk() {
    const walk_scope scope;
    const mutex_lock held{lock};
    queue.walk(1, exclusive::one);
  }

  mutex lock;
  wait_queue queue;
  std::array<std::unique_ptr<counted_entry>, 3> entries;
  std::array<int, 3> visits{};
  // Bit i of [e]: a visit of entry e removes and frees entry i.
  std::array<unsigned, 3> removals{};
  // Bit i of [e]: a visit of entry e removes entry i and adds it again, if i has been visited.
  std::array<unsigned, 3> returns{};
  int answer = 1;
};

int counted_entry::on_wake(wait_entry& woken, unsigned /*events*/) noexcept {
  auto& self = static_cast<counted_entry&>(woken);
  auto& all = self.queue;
  ++all.visits[self.number];
  const int answer = all.answer;
  const auto gone = all.removals[self.number];
  const auto returning = all.returns[self.number];
  const int visits = all.visits[self.number];
  for (unsigned i = 0; i < 3; ++i) {
    if (!(returning >> i & 1) || all.visits[i] < visits) continue;
    all.queue.remove(*all.entries[i]);
    all.queue.add(*all.entries[i]);
  }
  for (unsigned i = 0; i < 3; ++i)
    if (gone >> i & 1) all.remove(i);
  return answer;
}

}  // namespace

SCENARIO(wait_queue_walk_with_removals, 3,
         "a walk visits each entry once, except entries that an earlier entry has removed and freed") {
  queue_of_three all{false};
  for (auto& each : all.removals) each = any_below(8);
  std::array<int, 3> expected{};
  unsigned gone = 0;
  for (unsigned i = 0; i < 3; ++i) {
    if (gone >> i & 1) continue;
    expected[i] = 1;
    gone |= all.removals[i];
  }
  all.walk();
  REQUIRE(all.visits == expected);
}

SCENARIO(wait_queue_walk_with_returns, 3,
         "a walk visits each entry once, even if entries are removed and added again") {
  queue_of_three all{any_below(2) == 1};
  all.answer = 0;
  for (auto& each : all.returns) each = any_below(8);
  all.walk();
  REQUIRE(all.visits == (std::array{1, 1, 1}));
  all.walk();
  REQUIRE(all.visits == (std::array{2, 2, 2}));
}

SCENARIO(wait_queue_turns, 3,
         "each walk wakes one exclusive entry, in turns, and continues with the next if that entry declines") {
  queue_of_three all{true};
  all.answer = static_cast<int>(any_below(2));
  const bool leaves = any_below(2) == 1;
  if (leaves) all.removals[1] = 1U << 1;
  all.walk();
  all.walk();
  REQUIRE(all.visits[0] == 2);
  if (all.answer == 0)
    REQUIRE(all.visits[1] == (leaves ? 1 : 2) && all.visits[2] == 2);
  else
    REQUIRE(all.visits[1] == 1 && all.visits[2] == 1);
}

SCENARIO(wait_queue_removal_by_another, 3,
         "once an entry has been removed under the lock, its function does not run, and the entry may be freed") {
  queue_of_three all{false};
  const auto remove = [&](unsigned which) {
    std::unique_ptr<counted_entry> gone;
    const mutex_lock held{all.lock};
    all.queue.remove(*all.entries[which]);
    gone = std::move(all.entries[which]);
  };
  together(
      {{"walker", [&] { all.walk(); }}, {"first remover", [&] { remove(1); }}, {"second remover", [&] { remove(2); }}});
  REQUIRE(all.visits[0] == 1);
}

}  // namespace doorbell::model
