// SPDX-License-Identifier: Apache-2.0
//
// file_entry: an entry on the wait queue that has a kernel file, which a child of fork(2) would share with its parent.
// All file_entries of the process are in a list. A child changes them right after the fork, before its program uses a
// descriptor or reads a count. A child for which no handlers of pthread_atfork(3) run changes each entry when it first
// locks the eventfd's queue.
//
// Thread safety: constructed and destroyed by any thread. The list's mutex is acquired last, except by
// begin_all_in_child(), in a process with one thread. A fork does not acquire it: a child takes it over
// (fork_aware_mutex.hpp), and the forward links of the list are complete at every instant, as in a wait queue.
#pragma once

#include <doorbell/base/wait_queue.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

class eventfd_ctx::file_entry : public base::process_entry {
 public:
  /// In a child, while it has one thread: adapts all entries on queues, by process_entry::begin_in_child().
  static void begin_all_in_child() noexcept;

 protected:
  file_entry(eventfd_ctx& ctx, base::wake_function wake) noexcept;
  ~file_entry();

  eventfd_ctx& ctx_;

 private:
  struct list;

  file_entry* next_ = nullptr;
  file_entry* previous_ = nullptr;  // null for the first entry
};

}  // namespace doorbell
