// SPDX-License-Identifier: Apache-2.0
#include "depth_first.hpp"

#include "failure.hpp"

namespace doorbell::model {
namespace {

// A sleep that only a wake can end cannot come before the wake.
bool could_come_earlier(const operation& next) noexcept {
  return next.object != nullptr && (!next.sleeps || next.timed);
}

last_visit later(const last_visit& one, const last_visit& other) noexcept {
  return one.step > other.step ? one : other;
}

[[noreturn]] void not_the_same() {
  fail(failure::broken_scenario, "the scenario does not do the same each time: it depends on more than its schedule");
}

}  // namespace

bool depth_first::advance() {
  while (!path_.empty()) {
    if (try_another(path_.back())) return true;
    path_.pop_back();
  }
  return false;
}

bool depth_first::try_another(node& at) {
  if (at.is_pick()) return ++at.chosen < at.alternatives;
  for (auto left = at.todo & ~at.done; left != 0; left &= left - 1) {
    const auto next = static_cast<thread_id>(__builtin_ctz(left));
    at.done |= only(next);
    if (at.preemptions_with(next) > bound_) {
      cut_ = true;
      continue;
    }
    at.chosen = next;
    return true;
  }
  return false;
}

depth_first::node& depth_first::push() {
  const auto preemptions = path_.empty() ? 0 : path_.back().preemptions_with(path_.back().chosen);
  path_.push_back({.preemptions = preemptions});
  ++depth_;
  return path_.back();
}

thread_id depth_first::choose(const candidates& who) {
  if (depth_ < path_.size()) {
    const auto& known = path_[depth_++];
    if (known.is_pick() || known.who.ready != who.ready || known.who.timed != who.timed) not_the_same();
    return known.chosen;
  }
  auto& made = push();
  made.who = who;
  made.chosen = who.by_default();
  made.done = only(made.chosen);
  made.todo = reduction_ == reduction::none ? who.all() : made.done;
  return made.chosen;
}

unsigned depth_first::pick(unsigned alternatives) {
  if (depth_ < path_.size()) {
    const auto& known = path_[depth_++];
    if (known.alternatives != alternatives) not_the_same();
    return known.chosen;
  }
  push().alternatives = alternatives;
  return 0;
}

// Records the places where the next operation of `who` could have come before earlier operations of other threads.
void depth_first::announced(std::span<thread> threads, thread& who, objects& all) {
  if (reduction_ == reduction::none || !could_come_earlier(who.pending)) return;
  const auto& what = all.find(who.pending.object);
  for (const auto& other : threads) {
    if (other.id == who.id) continue;
    auto before = what.last_write[other.id];
    if (who.pending.writes) before = later(before, what.last_read[other.id]);
    if (before.step != last_visit::never && before.tick > who.order.of(other.id)) try_first(before.step, who.id);
  }
}

// Records the place if pending operations of other threads could come before the one of `who`.
void depth_first::steps(std::span<thread> threads, thread& who, objects& all) {
  if (reduction_ == reduction::none) return;
  const auto& next = who.pending;
  if (next.object == nullptr) {
    who.order.tick(who.id);
    return;
  }
  auto& what = all.find(next.object);
  who.order.join(next.writes ? what.visited : what.written);
  who.order.tick(who.id);
  what.visited.join(who.order);
  if (next.writes) what.written = what.visited;
  const int step = static_cast<int>(depth_) - 1;
  (next.writes ? what.last_write : what.last_read)[who.id] = {step, who.order.of(who.id)};
  for (const auto& other : threads) {
    if (other.id == who.id || other.finished || other.pending.object != next.object) continue;
    if ((next.writes || other.pending.writes) && could_come_earlier(other.pending)) try_first(step, other.id);
  }
}

void depth_first::leaves(const thread& who, object& what) {
  what.visited.join(who.order);
  what.written = what.visited;
}

void depth_first::try_first(int step, thread_id who) {
  auto place = static_cast<std::size_t>(step);
  note(place, who);
  while (place > 0 && (path_[place].is_pick() || path_[place].who.previous == path_[place].chosen)) --place;
  note(place, who);
}

void depth_first::note(std::size_t place, thread_id who) {
  auto& at = path_[place];
  if (at.is_pick()) return;
  const auto all = at.who.all();
  at.todo |= (all & only(who)) != 0 ? only(who) : all;
}

}  // namespace doorbell::model
