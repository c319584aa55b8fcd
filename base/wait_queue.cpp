// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/wait_queue.hpp>

#include <poll.h>

#include <cassert>
#include <new>
#include <optional>
#include <utility>

#include <doorbell/base/fatal.hpp>
#include <doorbell/base/walk_scope.hpp>

namespace doorbell::base {

/// The passes that wake functions have requested beyond the current one, and the entries that they have added.
struct wait_queue::further_passes {
  std::uint32_t input = 0;  // for POLLIN, not yet begun
  std::uint32_t input_begun = 0;
  bool room = false;                 // for POLLOUT, not yet begun
  wait_links added{&added, &added};  // a circular list of the entries that wait for their first pass
};

/// The state of a walk, from its first pass to its last. It belongs to the walking thread.
// A walk is short, and each store delays the atomic operation that unlocks the queue. So visit() sets the fields that
// only wake functions read, before it calls one, and the rest is created when a wake function needs it.
struct wait_queue::walk_state {
  further_passes& need_further() noexcept { return further ? *further : further.emplace(); }

  wait_links* next;        // the entry that the pass visits next; step_over() advances it when that entry is removed
  const wait_entry* told;  // the entry whose function runs; only its address is compared
  unsigned events;
  bool is_gone;  // the function of an exclusive entry that takes turns has removed the entry
  std::optional<further_passes> further;
};

thread_local constinit walk_scope* walk_scope::current_ = nullptr;
thread_local constinit wait_queue* wait_queue::walked_ = nullptr;
thread_local constinit wait_queue::walk_state* wait_queue::state_ = nullptr;

void deferred_list::push_back_more(const deferred& work) noexcept {
  try {
    more_.push_back(work);
  } catch (const std::bad_alloc&) {
    fatal("no memory for a signal, wake or close that a callback has made; it must not be lost",
          "docs/eventfd.md, In a callback");
  }
}

// NOLINTBEGIN(bugprone-unchecked-optional-access): the caller has checked it
void walk_scope::run_deferred() noexcept {
  while (!later_->empty()) {
    const auto batch = *std::move(later_);
    batch.run();
  }
}
// NOLINTEND(bugprone-unchecked-optional-access)

wait_queue::~wait_queue() { assert(empty() && "wait_queue: destroyed with entries on it"); }

// Removing the next entry advances the pass; removing the current one keeps visit() from touching it again.
void wait_queue::step_over(wait_entry& removed) noexcept {
  auto& walk = *state_;
  if (walk.next == &removed) walk.next = removed.next;
  if (walk.told == &removed) walk.is_gone = true;
}

unsigned wait_queue::events_told_to(const wait_entry& entry) noexcept {
  return walked_ != nullptr && state_->told == &entry ? state_->events : 0;
}

void wait_queue::walk(unsigned events, exclusive limit) noexcept {
  assert(walked_ == nullptr && "wait_queue: a walk within a walk");
  walk_state walk;
  walked_ = this;
  state_ = &walk;
  visit(head_, events, limit);
  if (walk.further) [[unlikely]]
    make_other_passes(*walk.further);
  walked_ = nullptr;
}

void wait_queue::walk_again(unsigned events) noexcept {
  assert(walked_by_this_thread());
  assert((events & ~static_cast<unsigned>(POLLIN | POLLOUT)) == 0 && "wait_queue: a pass for another event");
  auto& further = state_->need_further();
  if (events & POLLIN) ++further.input;
  if (events & POLLOUT) further.room = true;
}

inline void wait_queue::visit(wait_links& list, unsigned events, exclusive limit) noexcept {
  auto& walk = *state_;
  walk.events = events;
  for (auto* at = list.next; at != &list; at = walk.next) {
    auto& entry = static_cast<wait_entry&>(*at);
    // All needed fields of the entry are read before its function runs, which may remove and free it.
    walk.next = entry.next;
    walk.told = &entry;
    const bool takes_turns = entry.exclusive_ && limit == exclusive::one;
    if (takes_turns) walk.is_gone = false;
    const int answer = entry.wake_(entry, events);
    if (answer < 0) break;
    if (answer > 0 && takes_turns) {
      if (!walk.is_gone && &list == &head_) rotate(entry);
      break;
    }
  }
}

// POLLOUT comes first: a write that it admits requests its own pass for POLLIN.
void wait_queue::make_other_passes(further_passes& further) noexcept {
  for (;;) {
    if (further.room) {
      further.room = false;
      visit(head_, POLLOUT, exclusive::one);
      visit_added(further.added, POLLOUT);
    } else if (further.input > 0) {
      --further.input;
      link_added(further.added, further.input_begun++);
      visit(head_, POLLIN, exclusive::one);
    } else {
      break;
    }
  }
  link_added(further.added, further.input_begun);
}

void wait_queue::add_later(wait_entry& entry) noexcept {
  auto& further = state_->need_further();
  entry.first_pass_ = further.input_begun + further.input;
  link_before(further.added, entry);
}

// The added entries are in the order of their first passes.
void wait_queue::link_added(wait_links& added, std::uint32_t pass) noexcept {
  while (added.next != &added) {
    auto& entry = static_cast<wait_entry&>(*added.next);
    if (entry.first_pass_ > pass) return;
    unlink(entry);
    link_last(entry);
  }
}

// Visits the added entries in a separate circular list, so that the pass ends although wake functions add entries.
void wait_queue::visit_added(wait_links& added, unsigned events) noexcept {
  if (added.next == &added) return;
  wait_links visited{added.next, added.previous};
  visited.next->previous = visited.previous->next = &visited;
  added = {&added, &added};
  visit(visited, events, exclusive::one);
  if (visited.next == &visited) return;
  visited.previous->next = added.next;
  added.next->previous = visited.previous;
  visited.next->previous = &added;
  added.next = visited.next;
}

// The forward links are valid as the parent left them; everything else is rebuilt from them.
void wait_queue::begin_in_child() noexcept {
  first_exclusive_ = &head_;
  wait_links* before = &head_;
  for (auto* at = head_.next; at != &head_;) {
    auto& entry = static_cast<wait_entry&>(*at);
    auto* const after = at->next;
    at->previous = before;
    if (entry.is_process_entry_ && !static_cast<process_entry&>(entry).begin_in_child()) {
      publish(before->next, after);
      if (walked_by_this_thread() && state_->next == at) state_->next = after;
    } else {
      if (entry.exclusive_ && first_exclusive_ == &head_) first_exclusive_ = at;
      before = at;
    }
    at = after;
  }
  head_.previous = before;
}

void wait_queue::rotate(wait_entry& entry) noexcept {
  remove(entry);
  link_last(entry);
}

}  // namespace doorbell::base
