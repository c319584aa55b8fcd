// SPDX-License-Identifier: Apache-2.0
//
// file_entry: an entry on the wait queue that has a file of the kernel's, which a child of fork(2) would share with its
// parent. All of the process are in a list, so that a child finds them right after the fork, before its program looks
// at a descriptor or at a count. Children for which no handlers of pthread_atfork(3) run change them when they first
// lock the eventfd's queue.
//
// Thread safety: made and destroyed by any thread. The list's mutex is acquired last, except by begin_all_in_child(),
// in a process with one thread. A fork does not acquire it: a child takes it over (fork_aware_mutex.hpp), and the list
// is whole in its forward direction at every instant, as a wait queue is.
#pragma once

#include <doorbell/base/wait_queue.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

class eventfd_ctx::file_entry : public base::process_entry {
 public:
  /// In a child, while it has one thread: gives it files of its own.
  static void begin_all_in_child() noexcept;

 protected:
  file_entry(eventfd_ctx& ctx, base::wake_function wake) noexcept;
  ~file_entry();

  eventfd_ctx& ctx_;

 private:
  struct list;

  file_entry* next_ = nullptr;
  file_entry* previous_ = nullptr;  // null: the first
};

}  // namespace doorbell
