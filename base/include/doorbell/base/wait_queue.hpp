// SPDX-License-Identifier: Apache-2.0
//
// wait_queue: a list of entries, each with a wake function. A walk calls the functions under the lock of the queue's
// owner.
//
// The contract of queue and entries:
//  - Wake functions run in the waking thread, under the owner's lock. They are short, never block and never throw.
//    After an entry has been removed under the lock, its function neither runs nor will run.
//  - A wake function may remove any entries: its own, the next one, or all. The walk does not touch a removed entry
//    again, so the function may free it.
//  - A walk visits the non-exclusive entries first, all of them, in the order of their addition; then exclusive ones,
//    until one returns a positive number. This entry moves to the back, so exclusive entries take turns. A negative
//    result ends the pass.
//  - A pass is bounded: it does not visit an entry that was added during it.
//  - If a wake function changes the state for which the waiters wait, it requests another pass (walk_again()), which
//    follows under the same hold of the lock.
//  - If a wake function adds an entry, the passes for POLLIN that are requested after the addition visit the entry, and
//    those that were requested before do not. So the entry sees each later signal exactly once. All later passes for
//    POLLOUT visit it, since they report only that there may be room.
//  - If a wake function has work for another queue, or work that must not be done under the lock, it defers the work
//    (walk_scope.hpp). The work runs when the outermost walk of the thread has released its lock. So no walk
//    begins inside another walk, and this queue's lock is not held while that of another queue in use is acquired.
//  - A child of fork(2) may inherit a queue that another thread of the parent was changing. The forward links are
//    complete at every instant: one store links an entry, after the stores to the entry itself; one store unlinks it,
//    and it keeps its own forward link until then. begin_in_child() rebuilds the rest from the forward links. An entry
//    that was moving to the back, or waiting for its first pass, may be missing.
//
// Thread safety: none; the owner's lock guards it all. Lifetime: must be empty when destroyed.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <cassert>
#include <cstdint>

#include <doorbell/base/export.hpp>
#include <doorbell/base/publication.hpp>

namespace doorbell::base {

class wait_entry;

/// @param events the events of the walk: POLLIN, POLLOUT, POLLHUP, POLLERR.
/// @return positive: an exclusive entry has consumed the wakeup; 0: it has not; negative: end the pass.
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

  /// Whether the entry is on a queue. The lock of the queue must be held.
  [[nodiscard]] bool linked() const noexcept { return next != nullptr; }
  /// Only while it is not linked.
  void set_exclusive(bool exclusive) noexcept { exclusive_ = exclusive; }

 private:
  friend class process_entry;
  friend class wait_queue;

  wake_function wake_;
  bool exclusive_;
  bool is_process_entry_ = false;
  std::uint32_t first_pass_ = 0;  // the number of its first pass for POLLIN, if a wake function added it
};

/// An entry that must be adapted, or removed, in a child of fork(2).
class DOORBELL_EXPORT process_entry : public wait_entry {
 public:
  /// Called once in a child that has inherited the queue, under the owner's lock.
  /// @return false: the entry is useless in the child, and may have freed itself. The caller unlinks it without
  /// touching it.
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
  /// Makes a pass for `events`, and then the passes that wake functions request with walk_again(). The calling thread
  /// has a walk_scope, and is in no other walk.
  /// @param limit whether one exclusive entry may consume the event, or all of them are called.
  void walk(unsigned events, exclusive limit) noexcept;

  /// In a wake function of this queue: requests another pass, which follows the current one before the walk ends. Each
  /// request for POLLIN makes one pass. Several requests for POLLOUT make one pass together, since POLLOUT only reports
  /// that there may be room.
  /// @param events POLLIN or POLLOUT.
  void walk_again(unsigned events) noexcept;

  /// Whether this thread is inside a wake function of this queue (or of any queue), and so holds that queue's lock.
  [[nodiscard]] bool walked_by_this_thread() const noexcept { return walked_ == this; }
  [[nodiscard]] static bool any_walked_by_this_thread() noexcept { return walked_ != nullptr; }
  [[nodiscard]] static wait_queue* walked_one() noexcept { return walked_; }

  /// In a child of fork(2) that has inherited the queue, before any other use. Not in a walk that a thread of the child
  /// has begun.
  void begin_in_child() noexcept;

  /// The events that the wake function of `entry` was called with, if this thread is inside that function; otherwise 0.
  /// The entry may have been removed and freed: only its address is compared.
  [[nodiscard]] static unsigned events_told_to(const wait_entry& entry) noexcept;

 private:
  struct further_passes;
  struct walk_state;

  // The queue that this thread walks. Initial-exec: doorbell is loaded with the program, and this is read whenever a
  // queue's lock is taken.
  static thread_local constinit wait_queue* walked_ __attribute__((tls_model("initial-exec")));
  // The state of that walk.
  static thread_local constinit walk_state* state_ __attribute__((tls_model("initial-exec")));

  // The list is circular and contains head_.
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
