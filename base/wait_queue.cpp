// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/wait_queue.hpp>

#include <boost/intrusive/circular_list_algorithms.hpp>
#include <cassert>
#include <utility>

#include <doorbell/base/walk_scope.hpp>

namespace doorbell::base {

struct wait_links_traits {
  using node = wait_links;
  using node_ptr = wait_links*;
  using const_node_ptr = const wait_links*;
  static node_ptr get_next(const_node_ptr at) noexcept { return at->next; }
  static void set_next(node_ptr at, node_ptr next) noexcept { at->next = next; }
  static node_ptr get_previous(const_node_ptr at) noexcept { return at->previous; }
  static void set_previous(node_ptr at, node_ptr previous) noexcept { at->previous = previous; }
};

using list = boost::intrusive::circular_list_algorithms<wait_links_traits>;

thread_local constinit walk_scope* walk_scope::current_ = nullptr;

void walk_scope::run_deferred() noexcept {
  while (!later_.empty()) {
    const auto batch = std::exchange(later_, {});
    for (const auto& work : batch) work.run(work.object, work.argument);
  }
}

wait_queue::~wait_queue() { assert(empty() && "wait_queue: destroyed with entries on it"); }

void wait_queue::add(wait_entry& entry) noexcept {
  assert(!entry.linked());
  list::link_before(entry.exclusive_ ? &head_ : first_exclusive_, &entry);
  if (entry.exclusive_ && first_exclusive_ == &head_) first_exclusive_ = &entry;
}

void wait_queue::remove(wait_entry& entry) noexcept {
  assert(entry.linked());
  if (first_exclusive_ == &entry) first_exclusive_ = entry.next;
  if (walked_by_this_thread()) {
    auto& walk = *walk_scope::current_;
    if (walk.next_ == &entry) walk.next_ = entry.next;
    if (walk.visited_ == &entry) walk.visited_ = nullptr;
  }
  list::unlink(&entry);
  entry.next = entry.previous = nullptr;
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
  assert(walk.queue_ == nullptr && "wait_queue: a walk within a walk");
  walk.queue_ = this;
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
  walk.queue_ = nullptr;
}

void wait_queue::rotate(wait_entry& entry) noexcept {
  remove(entry);
  add(entry);
}

bool wait_queue::walked_by_this_thread() const noexcept {
  return walk_scope::current_ != nullptr && walk_scope::current_->queue_ == this;
}

}  // namespace doorbell::base
