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
//    positive; that one goes to the back, so that they take turns. A negative answer ends the pass.
//  - A pass is bounded: it does not visit an entry that was added during it.
//  - A wake function that changes what the queue is about asks for another pass (walk_again()), which follows under the
//    same hold of the lock. An entry that a wake function adds is visited by the passes for POLLIN that are asked for
//    after it was added, and by no other: it is told of each change exactly once.
//  - Work for another queue, or work that must not be done under the lock, a wake function defers: deferred work runs
//    when the outermost walk of the thread has released its lock. No recursion, and no lock taken under another.
//
//  - A child of fork(2) may have a copy that another thread of the parent was changing. The forward links are whole at
//    every instant: an entry is linked by one store, which comes after those to the entry itself, and unlinked by one,
//    and keeps its own forward link until then. begin_in_child() makes the rest anew from them. An entry that moves to
//    the back, or waits for its first pass, may be missing.
//
// Thread safety: none of its own, the owner's lock guards it all. Lifetime: empty when destroyed.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cassert>
#include <cstdint>

#include <doorbell/base/export.hpp>
#include <doorbell/base/publication.hpp>

namespace doorbell::base {

class wait_entry;

/// @param events what happened: POLLIN, POLLOUT, POLLHUP, POLLERR.
/// @return positive: an exclusive entry has used the wake up; 0: it has not; negative: end the pass.
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
  friend class process_entry;
  friend class wait_queue;

  wake_function wake_;
  bool exclusive_;
  bool is_process_entry_ = false;
  std::uint32_t first_pass_ = 0;  // of those for POLLIN in the walk during which it was added
};

/// An entry that is not the same in a child of fork(2).
class DOORBELL_EXPORT process_entry : public wait_entry {
 public:
  /// Called once in a child that has inherited the queue, under the owner's lock.
  /// @return false: it is of no use in the child; it has been taken off the queue, and frees itself.
  [[nodiscard]] virtual bool begin_in_child() noexcept = 0;

 protected:
  explicit process_entry(wake_function wake) noexcept : wait_entry{wake} { is_process_entry_ = true; }
  ~process_entry() = default;
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
    if (walked_by_this_thread()) [[unlikely]]
      add_later(entry);
    else
      link_last(entry);
  }
  void remove(wait_entry& entry) noexcept {
    assert(entry.linked());
    if (first_exclusive_ == &entry) first_exclusive_ = entry.next;
    if (walked_by_this_thread()) [[unlikely]]
      step_over(entry);
    unlink(entry);
    publish<wait_links>(entry.next, nullptr);
  }
  /// Calls the wake functions, and again for each walk_again() that they make. The thread has a walk_scope, and is in
  /// no other walk.
  /// @param limit how many exclusive entries may use it up.
  void walk(unsigned events, exclusive limit) noexcept;

  /// In a wake function of this queue: another pass follows the one that runs, before the walk ends. Passes for POLLIN
  /// are counted; of several for POLLOUT one is made, since POLLOUT only says that there may be room.
  /// @param events POLLIN or POLLOUT.
  void walk_again(unsigned events) noexcept;

  /// Whether this thread is inside a wake function of this queue, and so holds its lock; respectively of any.
  [[nodiscard]] bool walked_by_this_thread() const noexcept { return walked_ == this; }
  [[nodiscard]] static bool any_walked_by_this_thread() noexcept { return walked_ != nullptr; }
  [[nodiscard]] static wait_queue* walked_one() noexcept { return walked_; }

  /// In a child of fork(2) that has inherited the queue, before it is used otherwise. Not in a walk by a thread of the
  /// child.
  void begin_in_child() noexcept;

  /// The events with which this thread is inside the wake function of `entry`; 0 if it is not. The entry may have been
  /// removed: only its address is compared.
  [[nodiscard]] static unsigned events_told_to(const wait_entry& entry) noexcept;

 private:
  struct further_passes;
  struct walk_state;

  // The queue that this thread walks. Initial-exec: doorbell is loaded with the program, and this is read whenever a
  // queue's lock is taken.
  static thread_local constinit wait_queue* walked_ __attribute__((tls_model("initial-exec")));
  // Of that walk.
  static thread_local constinit walk_state* state_ __attribute__((tls_model("initial-exec")));

  // The list is a circle of which head_ is part.
  static void link_before(wait_links& at, wait_links& added) noexcept {
    auto* const before = at.previous;
    added.previous = before;
    added.next = &at;
    publish<wait_links>(before->next, &added);
    at.previous = &added;
  }
  static void unlink(wait_links& removed) noexcept {
    auto* const after = removed.next;
    auto* const before = removed.previous;
    publish<wait_links>(before->next, after);
    after->previous = before;
  }

  void link_last(wait_entry& entry) noexcept {
    link_before(*(entry.exclusive_ ? &head_ : first_exclusive_), entry);
    if (entry.exclusive_ && first_exclusive_ == &head_) first_exclusive_ = &entry;
  }

  static void add_later(wait_entry& entry) noexcept;
  void link_added(wait_links& added, std::uint32_t pass) noexcept;
  static void step_over(wait_entry& removed) noexcept;
  void visit(wait_links& list, unsigned events, exclusive limit) noexcept;
  void visit_added(wait_links& added, unsigned events) noexcept;
  void make_other_passes(further_passes& further) noexcept;
  void rotate(wait_entry& entry) noexcept;

  wait_links head_{&head_, &head_};
  wait_links* first_exclusive_ = &head_;
};

}  // namespace doorbell::base
