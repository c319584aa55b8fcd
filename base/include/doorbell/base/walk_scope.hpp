// SPDX-License-Identifier: Apache-2.0
//
// walk_scope: runs the work that wake functions defer.
//
// Every walk, with the lock that it holds, is inside a walk_scope:
//
//   walk_scope scope;                    // only the outermost one of the thread has an effect
//   { lock; queue.walk(...); unlock; }   // wake functions may defer()
//                                        // ~walk_scope, outermost: no lock held; runs the deferred work, which may
//                                        //   walk other queues and defer more: a loop, never a recursion
//
// Thread safety: belongs to its thread.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <doorbell/base/call_scope.hpp>
#include <doorbell/base/export.hpp>
#include <doorbell/base/wait_queue.hpp>

namespace doorbell::base {

/// Work that a wake function defers. If `object` must be kept in memory, the work holds its own reference.
struct deferred {
  void (*run)(void* object, std::uint64_t argument) noexcept;
  void* object;
  std::uint64_t argument;
};

/// Deferred work, in the order of push_back(). The first eight entries need no allocation.
class deferred_list {
 public:
  deferred_list() noexcept = default;
  deferred_list(deferred_list&& other) noexcept
      : count_{std::exchange(other.count_, 0)}, more_{std::move(other.more_)} {
    std::ranges::copy(std::span{other.few_}.first(count_ - more_.size()), few_.begin());
  }
  deferred_list& operator=(deferred_list&&) = delete;

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// Terminates the program if memory for a further entry cannot be allocated.
  void push_back(const deferred& work) noexcept {
    if (count_ < few_.size()) [[likely]]
      few_[count_] = work;
    else
      push_back_more(work);
    ++count_;
  }
  /// Runs all entries. Their functions must not add entries to this list.
  void run() const noexcept {
    for (const auto& work : std::span{few_}.first(count_ - more_.size())) work.run(work.object, work.argument);
    for (const auto& work : more_) work.run(work.object, work.argument);
  }

 private:
  void push_back_more(const deferred& work) noexcept;

  std::size_t count_ = 0;
  std::array<deferred, 8> few_;  // uninitialized
  std::vector<deferred> more_;
};

class DOORBELL_EXPORT walk_scope {
 public:
// g++ 14 sees that the address of a local variable is stored, but not that the destructor removes it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer"
#endif
  walk_scope() noexcept {
    if (current_ == nullptr) current_ = this;
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
  ~walk_scope() {
    if (current_ != this) return;
    if (later_) [[unlikely]]
      run_deferred();
    current_ = nullptr;
  }
  walk_scope(const walk_scope&) = delete;
  walk_scope& operator=(const walk_scope&) = delete;

  /// Whether this thread is inside a wake function of any queue: it holds a lock, so it must neither block nor acquire
  /// another lock.
  [[nodiscard]] static bool in_wake_function() noexcept { return wait_queue::any_walked_by_this_thread(); }

  /// Defers work until the outermost walk of this thread has released its lock; work runs in the order of the calls.
  /// Only inside a wake function. The first eight entries need no allocation. If memory runs out, the program ends,
  /// since no deferred work may be lost silently.
  static void defer(const deferred& work) noexcept {
    const inside_of_call here;  // refuses calls of a signal handler that interrupts this: they would defer, too
    auto& later = current_->later_;
    if (!later) later.emplace();
    later->push_back(work);
  }

 private:
  void run_deferred() noexcept;

  // Initial-exec: doorbell is loaded with the program, and this is read on every slow path.
  static thread_local constinit walk_scope* current_ __attribute__((tls_model("initial-exec")));

  std::optional<deferred_list>
      later_;  // created by the first defer(): each slow path has a walk_scope, and few defer work
};

}  // namespace doorbell::base
