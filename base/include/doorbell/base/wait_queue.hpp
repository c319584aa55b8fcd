// SPDX-License-Identifier: Apache-2.0
//
// wait_queue: entries with a wake function each, walked under the lock of whoever owns the queue.
//
// The contract, which everything above builds on:
//  - Wake functions run in the waking thread, under the owner's lock; they are short, never block and never throw. After
//    an entry has been removed under the lock, its function does not run and does not run any more.
//  - The walk survives any removal that a wake function makes: of its own entry, of the next one, of all of them. An
//    entry that has been removed is not touched again, so its function may free it.
//  - Non-exclusive entries are visited first, all of them, in the order they came; then exclusive ones, until one answers
//    positive; that one goes to the back, so that they take turns. A negative answer ends the walk.
//  - What a wake function would do to another queue (or to this one) that needs a lock or a walk, it defers: deferred work
//    runs when the outermost walk of the thread has let its lock go. No recursion, and no lock taken under another.
//
// Thread safety: none of its own, the owner's lock guards it all. Lifetime: empty when destroyed.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cassert>

#include <doorbell/base/export.hpp>

namespace doorbell::base {

class wait_entry;

/// @param events what happened: POLLIN, POLLOUT, POLLHUP, POLLERR.
/// @return positive: an exclusive entry has used the wake up; 0: it has not; negative: end the walk.
using wake_function = int (*)(wait_entry& entry, unsigned events) noexcept;

struct wait_links {
  wait_links* next = nullptr;
  wait_links* previous = nullptr;
};

class DOORBELL_EXPORT wait_entry : private wait_links {
 public:
  explicit wait_entry(wake_function wake, bool exclusive = false) noexcept : wake_{wake}, exclusive_{exclusive} {}
  wait_entry(const wait_entry&) = delete;
  wait_entry& operator=(const wait_entry&) = delete;

  /// Whether it is on a queue; asked under that queue's lock.
  [[nodiscard]] bool linked() const noexcept { return next != nullptr; }
  /// Only while it is not linked.
  void set_exclusive(bool exclusive) noexcept { exclusive_ = exclusive; }

 private:
  friend class wait_queue;

  wake_function wake_;
  bool exclusive_;
};

class DOORBELL_EXPORT wait_queue {
 public:
  enum class exclusive { one, all };

  wait_queue() noexcept = default;
  ~wait_queue();
  wait_queue(const wait_queue&) = delete;
  wait_queue& operator=(const wait_queue&) = delete;

  [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
  void add(wait_entry& entry) noexcept {
    assert(!entry.linked());
    link_before(*(entry.exclusive_ ? &head_ : first_exclusive_), entry);
    if (entry.exclusive_ && first_exclusive_ == &head_) first_exclusive_ = &entry;
  }
  void remove(wait_entry& entry) noexcept {
    assert(entry.linked());
    if (first_exclusive_ == &entry) first_exclusive_ = entry.next;
    if (walked_by_this_thread()) [[unlikely]]
      step_over(entry);
    unlink(entry);
    entry.next = nullptr;
  }
  /// The first entry with that wake function, or null.
  [[nodiscard]] wait_entry* find(wake_function wake) noexcept;

  /// Calls the wake functions. The thread has a walk_scope, and is in no other walk.
  /// @param limit how many exclusive entries may use it up.
  void walk(unsigned events, exclusive limit) noexcept;

  /// Whether this thread is inside a wake function of this queue, and so holds its lock; respectively of any.
  [[nodiscard]] bool walked_by_this_thread() const noexcept { return walked_ == this; }
  [[nodiscard]] static bool any_walked_by_this_thread() noexcept { return walked_ != nullptr; }

 private:
  // The queue that this thread walks. Initial-exec: doorbell is loaded with the program, and this is read whenever a
  // queue's lock is taken.
  static thread_local constinit wait_queue* walked_ __attribute__((tls_model("initial-exec")));

  // The list is a circle of which head_ is part.
  static void link_before(wait_links& at, wait_links& added) noexcept {
    auto* const before = at.previous;
    added.previous = before;
    before->next = &added;
    at.previous = &added;
    added.next = &at;
  }
  static void unlink(wait_links& removed) noexcept {
    auto* const after = removed.next;
    auto* const before = removed.previous;
    before->next = after;
    after->previous = before;
  }

  static void step_over(wait_entry& removed) noexcept;
  void rotate(wait_entry& entry) noexcept;

  wait_links head_{&head_, &head_};
  wait_links* first_exclusive_ = &head_;
};

}  // namespace doorbell::base
