// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/wait_queue.hpp>

#include <cassert>
#include <utility>

#include <doorbell/base/walk_scope.hpp>

namespace doorbell::base {

thread_local constinit walk_scope* walk_scope::current_ = nullptr;
thread_local constinit wait_queue* wait_queue::walked_ = nullptr;

void deferred_list::push_back_more(const deferred& work) noexcept { more_.push_back(work); }

void walk_scope::run_deferred() noexcept {
  while (!later_.empty()) {
    const auto batch = std::move(later_);
    batch.run();
  }
}

wait_queue::~wait_queue() { assert(empty() && "wait_queue: destroyed with entries on it"); }

// The walk goes on after an entry that its function removes, and does not come back to one that is gone.
void wait_queue::step_over(wait_entry& removed) noexcept {
  auto& walk = *walk_scope::current_;
  if (walk.next_ == &removed) walk.next_ = removed.next;
  if (walk.visited_ == &removed) walk.visited_ = nullptr;
}

wait_entry* wait_queue::find(wake_function wake) noexcept {
  for (auto* at = head_.next; at != &head_; at = at->next) {
    auto& entry = static_cast<wait_entry&>(*at);
    if (entry.wake_ == wake) return &entry;
  }
  return nullptr;
}

void wait_queue::walk(unsigned events, exclusive limit) noexcept {
  auto& walk = *walk_scope::current_;
  assert(walked_ == nullptr && "wait_queue: a walk within a walk");
  walked_ = this;
  for (auto* at = head_.next; at != &head_; at = walk.next_) {
    auto& entry = static_cast<wait_entry&>(*at);
    // All that is needed of the entry is read before its function runs, which may remove and free it.
    walk.next_ = entry.next;
    walk.visited_ = &entry;
    const bool takes_turns = entry.exclusive_ && limit == exclusive::one;
    const int answer = entry.wake_(entry, events);
    if (answer < 0) break;
    if (answer > 0 && takes_turns) {
      if (walk.visited_ != nullptr) rotate(entry);
      break;
    }
  }
  walked_ = nullptr;
}

void wait_queue::rotate(wait_entry& entry) noexcept {
  remove(entry);
  add(entry);
}

}  // namespace doorbell::base
