// SPDX-License-Identifier: Apache-2.0
//
// walk_scope: what a thread knows of the walk it is in, and the work that its wake functions left for later.
//
// Every lock-and-walk stands inside a walk_scope:
//
//   walk_scope scope;                    // the outermost one of the thread is the one that counts
//   { lock; queue.walk(...); unlock; }   // wake functions: may defer()
//                                        // ~walk_scope, outermost: no lock held; runs what was deferred, which may
//                                        //   walk other queues and defer more: a loop, never a recursion
//
// Thread safety: belongs to its thread.
#pragma once

#include <cstdint>

#include <boost/container/small_vector.hpp>

#include <doorbell/base/wait_queue.hpp>

namespace doorbell::base {

/// Work that a wake function leaves for later. A reference that it needs, it holds itself.
struct deferred {
  void (*run)(void* object, std::uint64_t argument) noexcept;
  void* object;
  std::uint64_t argument;
};

class walk_scope {
 public:
  walk_scope() noexcept {
    if (current_ == nullptr) current_ = this;
  }
  ~walk_scope() {
    if (current_ != this) return;
    if (!later_.empty()) [[unlikely]]
      run_deferred();
    current_ = nullptr;
  }
  walk_scope(const walk_scope&) = delete;
  walk_scope& operator=(const walk_scope&) = delete;

  /// Whether this thread is inside a wake function of any queue: it holds a lock, so must neither block nor take another.
  [[nodiscard]] static bool in_wake_function() noexcept { return wait_queue::any_walked_by_this_thread(); }

  /// Leaves work for when the outermost walk of this thread has let its lock go, to be run in the order it was left.
  /// Only inside a wake function. The first eight cost no allocation; out of memory ends the program: nothing is lost
  /// silently.
  static void defer(const deferred& work) noexcept { current_->later_.push_back(work); }

 private:
  friend class wait_queue;

  void run_deferred() noexcept;

  // Initial-exec: doorbell is loaded with the program, and this is read on every slow path.
  static thread_local constinit walk_scope* current_ __attribute__((tls_model("initial-exec")));

  wait_links* next_ = nullptr;     // where the walk goes on; moved along when a wake function removes that entry
  wait_entry* visited_ = nullptr;  // whose function runs; null once that has removed it
  boost::container::small_vector<deferred, 8> later_;
};

}  // namespace doorbell::base
