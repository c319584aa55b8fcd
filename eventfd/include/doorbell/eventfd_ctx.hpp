// SPDX-License-Identifier: Apache-2.0
//
// eventfd_ctx: the object that the handles of an eventfd share: a 64-bit count, and the wait queue of its waiters.
//
// It has two counts of users. Files (doorbell::eventfd handles) keep the eventfd open: when the last is closed, each
// entry of the queue gets POLLHUP, under the queue's lock. References (eventfd_ctx_ptr) keep the memory. Each request
// that will signal the eventfd holds a reference. The files and the entries of the queue hold one reference together;
// the close of the last file drops it, or the last entry that leaves after that close. So the share of an entry is
// counted under the lock that the entry acquires anyway, and a closed eventfd stays in memory until its last notifier
// has been unregistered.
//
// Thread safety: all members may be called concurrently by callers that hold a reference or an open file, except those
// marked "lock held".
// Locks: while a thread holds the queue's lock, this layer acquires no other lock and makes no system call that can
// block. Exception: forwarding_to() in a callback acquires the lock of the new eventfd, which no other thread has, and
// the mutex of the list in file_entry.cpp. Callbacks that call io_submit acquire locks of AIO contexts; a thread that
// holds one of these never acquires a queue's lock.
// While the queue has entries, every change of the count and the walk that reports it are one critical section, as in
// the kernel. So the entries agree with the count whenever the lock is free, and each change is reported exactly once
// to each entry:
//
//   legal:     register; change and walk.   The walk calls the entry, and register_with() did not count the change.
//   legal:     change and walk; register.   register_with() finds the count, and the walk does not call the entry.
//   forbidden: change; register; walk.      The walk calls the entry for a change that register_with() has reported.
//   forbidden: two changes whose walks follow in the opposite order; a descriptor that shows the count has then missed
//              an edge between them.
//
// Memory ordering: a signal releases, a read that gets its count acquires; the lock does both.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <poll.h>

#include <cstdint>
#include <system_error>

#include <doorbell/base/counter_lock.hpp>
#include <doorbell/base/export.hpp>
#include <doorbell/base/intrusive_ptr.hpp>
#include <doorbell/base/kref.hpp>
#include <doorbell/base/thread_annotations.hpp>
#include <doorbell/base/wait_queue.hpp>
#include <doorbell/base/walk_scope.hpp>

namespace doorbell {

namespace base {
class private_fd;
}

class eventfd_ctx;

/// A reference that keeps an eventfd_ctx in memory; it does not keep the eventfd open.
using eventfd_ctx_ptr = base::intrusive_ptr<eventfd_ctx>;

/// The facts that /proc/PID/fdinfo has for a kernel eventfd.
struct eventfd_info {
  std::uint64_t count;  ///< the current count
  std::uint64_t id;     ///< unique in the process, never used again
  bool semaphore;       ///< EFD_SEMAPHORE
};

class DOORBELL_EXPORT DOORBELL_LOCKABLE eventfd_ctx {
 public:
  eventfd_ctx(const eventfd_ctx&) = delete;
  eventfd_ctx& operator=(const eventfd_ctx&) = delete;

  /// Adds `n` to the count, which stops at 2^64-1, and wakes the waiters for POLLIN. Never waits for room, never fails.
  /// Runs the wake functions of the queue's entries in this thread.
  /// Legal in a callback, for any eventfd: if there are waiters, the count and the wakeups are delivered after the
  /// outermost callback's lock has been released, each of them, in order. Not async-signal-safe: it may take the
  /// queue's lock.
  /// Source: eventfd_signal() of the Linux kernel.
  void signal(std::uint64_t n = 1) noexcept {
    if (!lock_.try_add(n)) [[unlikely]]
      signal_slow(n);
  }

  /// Takes as much as a read (everything, or 1 of a semaphore) and wakes the waiters for POLLOUT. Does not wait for a
  /// count. Legal in a callback of this eventfd; refused in one of another.
  /// @param[out] ec cleared, or resource_deadlock_would_occur.
  /// @return the amount taken; 0 if the count was 0.
  /// Source: eventfd_ctx_do_read() of the Linux kernel.
  std::uint64_t drain(std::error_code& ec) noexcept;

  /// As above. @throws std::system_error
  std::uint64_t drain();

  /// The count at some moment during the call. Never blocks, legal in a callback.
  [[nodiscard]] std::uint64_t count() const noexcept { return lock_.count(); }

  /// POLLIN if the count is above 0, POLLOUT if 1 more would fit, POLLERR if the count is 2^64-1. Never blocks, legal
  /// in a callback. Source: eventfd_poll() of the Linux kernel.
  [[nodiscard]] unsigned poll() const noexcept;

  /// Whether a handle is open. Once false, it stays false.
  [[nodiscard]] bool is_open() const noexcept { return files_.load(base::memory_order_relaxed) > 0; }

  /// Never blocks, legal in a callback.
  [[nodiscard]] eventfd_info info() const noexcept { return {count(), id_, semaphore_}; }

  // For entries of the wait queue: notifiers, and similar classes of the program.

  /// Acquires the queue's lock. Inside a wake function of this queue it has no effect, since the thread holds the lock
  /// already. May sleep.
  // The analysis cannot follow a lock that the thread may hold already.
  void lock() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION() DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
    if (in_own_callback()) [[unlikely]]
      return;
    if (lock_.lock()) [[unlikely]]
      begin_in_child();
  }
  void unlock() noexcept DOORBELL_UNLOCK_FUNCTION() DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
    if (!in_own_callback()) [[likely]]
      lock_.unlock(!queue_.empty());
  }
  /// Tells the compiler's analysis that the lock is held, as in a wake function.
  void assert_held() const noexcept DOORBELL_ASSERT_EXCLUSIVE_LOCK() {}

  /// Puts `entry` on the queue, and keeps this eventfd_ctx in memory for it until release_share(). Lock held.
  /// @return false if the eventfd has been closed: the entry, which would wait for ever, has not been added.
  // A close of the last file acquires this lock afterwards, to walk the queue:
  //
  //   legal:     this thread finds the eventfd open, and adds. The closer's walk, which needs this lock, comes later
  //              and finds the entry.
  //   legal:     this thread finds it closed, and does not add.
  //   forbidden: this thread adds after the walk. The walk acquires the lock after the decrement of files_; if the walk
  //              had come first, this thread would have acquired the decrement with the lock.
  [[nodiscard]] bool attach(base::wait_entry& entry) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    if (!is_open()) return false;
    queue_.add(entry);
    ++shares_;
    return true;
  }

  /// The same for an entry that has been detached but has kept its share. Lock held.
  [[nodiscard]] bool attach_again(base::wait_entry& entry) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    if (!is_open()) return false;
    queue_.add(entry);
    return true;
  }

  /// Removes `entry` from the queue; its function does not run any more. Lock held.
  void detach(base::wait_entry& entry) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this) { queue_.remove(entry); }

  /// Drops the entry's share of the memory. Lock held.
  /// @return whether it was the last share of a closed eventfd: the caller then calls put() after it has released the
  /// lock.
  [[nodiscard]] bool release_share() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    return --shares_ == 0 && hung_up_;
  }

  /// Takes as much as a read, and wakes the waiters for room, under the same hold of the lock. Lock held, by an
  /// eventfd_ctx_walk or in a wake function of this queue. In a wake function, the other wake functions run after it
  /// has returned, before the lock is released.
  /// @return whether the count was above 0.
  bool take_locked(std::uint64_t& taken) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this);

  /// Adds `n` as a write does, if it fits, and wakes the waiters for POLLIN, under the same hold of the lock. Lock
  /// held, as for take_locked().
  /// @return whether it was added.
  [[nodiscard]] bool add_locked(std::uint64_t n) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this);

  /// The count. Lock held.
  [[nodiscard]] std::uint64_t count_locked() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    return lock_.value();
  }

  /// The library's descriptor of the kernel eventfd that counts move to, or null. It stays until stop_forwarding() or
  /// the last close. Acquires the lock: must not be called in a callback of another eventfd, unless no other thread has
  /// this one.
  [[nodiscard]] const base::private_fd* forwarding_target() noexcept;

  /// Adds to the kernel eventfd that counts move to, without the lock and without adding to this count first: as much
  /// as fits there now, and as long as O_NONBLOCK is set there. The caller ensures that no thread stops the forwarding
  /// or closes the last handle. Not in a callback.
  /// @return the rest of `n`, for signal().
  [[nodiscard]] std::uint64_t forward_directly(std::uint64_t n) noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS;

  /// Moves the count that waits here because the kernel eventfd had no room for it. Not in a callback.
  void forward_waiting() noexcept;
  /// Whether a count waits here, or a helper thread has one that may return. Not in a callback.
  [[nodiscard]] bool has_waiting_counts() noexcept;

  /// Whether this thread is inside a callback of this eventfd (or of any): it holds that eventfd's lock and must not
  /// block.
  [[nodiscard]] bool in_own_callback() const noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS {
    return queue_.walked_by_this_thread();  // compares addresses, and reads nothing of the queue
  }
  [[nodiscard]] static bool in_callback() noexcept { return base::wait_queue::any_walked_by_this_thread(); }

  /// Calls `run(object, argument)` in this thread after its outermost callback's lock has been released, in the order
  /// of the calls of after_callback(). Only in a callback. The object must stay in memory until then. If memory runs
  /// out, the program ends, since no deferred work may be lost silently.
  static void after_callback(void (*run)(void* object, std::uint64_t argument) noexcept, void* object,
                             std::uint64_t argument = 0) noexcept;

  /// Adds and drops a reference. put() of the last one frees the object.
  void get() noexcept { references_.get(); }
  void put() noexcept {
    if (references_.put()) delete this;
  }

 private:
  friend class eventfd;
  class sleeper;
  class reader;
  class writer;
  class file_entry;
  class poll_bridge;
  class forwarder;
  struct attachments;
  struct wait_limit;

  eventfd_ctx(std::uint64_t count, bool semaphore, bool non_blocking) noexcept;
  ~eventfd_ctx();

  // In a child of fork(2).
  void begin_in_child() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this);
  void leave_waiting_to_parent() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this);
  void keep_callback_in_child() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this);
  static void after_fork_in_child() noexcept;
  [[gnu::constructor]] static void expect_forks() noexcept;

  // Files.
  void get_file() noexcept;
  void put_file() noexcept;
  void hang_up() noexcept;

  // Reads and writes; `ec` is set or cleared.
  std::uint64_t read(const wait_limit& limit, std::error_code& ec) noexcept;
  void write(std::uint64_t n, const wait_limit& limit, std::error_code& ec) noexcept;
  std::uint64_t read_or_sleep(const wait_limit& limit, std::error_code& ec) noexcept;
  void write_or_sleep(std::uint64_t n, const wait_limit& limit, std::error_code& ec) noexcept;
  bool run_or_enqueue(sleeper& operation) noexcept;
  std::error_code run(sleeper& operation, const wait_limit& limit) noexcept;
  [[nodiscard]] bool add_in_callback(std::uint64_t n) noexcept;

  // Descriptors.
  int poll_fd(std::error_code& ec) noexcept;
  void forward_to(int fd, std::error_code& ec) noexcept;
  void start_forwarding(int fd, std::error_code& ec) noexcept;
  void stop_forwarding(std::error_code& ec) noexcept;

  void signal_slow(std::uint64_t n) noexcept;
  void notify_waiters_locked(unsigned events) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this);
  /// The largest number that may be added. A signal may use all of it, a write must leave 1.
  [[nodiscard]] std::uint64_t room_locked() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(this);

  /// An event of the queue beside POLLIN: a count that forwarding had claimed has returned. A reader may take it.
  /// Notifiers and the forwarder ignore this event: they were called when the count was signalled.
  static constexpr unsigned came_back = POLLRDNORM;

  base::counter_lock lock_;
  base::wait_queue queue_ DOORBELL_GUARDED_BY(this);
  attachments* attached_ DOORBELL_GUARDED_BY(this) = nullptr;  // null until the first attachment
  const std::uint64_t id_;
  base::kref references_;
  base::atomic<std::uint32_t> files_{1};
  std::uint32_t shares_ DOORBELL_GUARDED_BY(this) = 0;  // of entries that have attached and not released their share
  bool hung_up_ DOORBELL_GUARDED_BY(this) = false;      // the close of the last file has walked the queue
  const bool semaphore_;
  const bool non_blocking_;
};

/// Holds an eventfd_ctx's lock for a scope.
class DOORBELL_SCOPED_LOCKABLE eventfd_ctx_lock {
 public:
  explicit eventfd_ctx_lock(eventfd_ctx& held) noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(held) : held_{held} {
    held_.lock();
  }
  ~eventfd_ctx_lock() DOORBELL_UNLOCK_FUNCTION() { held_.unlock(); }
  eventfd_ctx_lock(const eventfd_ctx_lock&) = delete;
  eventfd_ctx_lock& operator=(const eventfd_ctx_lock&) = delete;

 private:
  eventfd_ctx& held_;
};

/// Holds an eventfd_ctx's lock for a scope in which the queue may be walked. Deferred work of wake functions runs after
/// the lock has been released.
class DOORBELL_SCOPED_LOCKABLE eventfd_ctx_walk {
 public:
  explicit eventfd_ctx_walk(eventfd_ctx& held) noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(held) : held_{held} {}
  ~eventfd_ctx_walk() DOORBELL_UNLOCK_FUNCTION() = default;
  eventfd_ctx_walk(const eventfd_ctx_walk&) = delete;
  eventfd_ctx_walk& operator=(const eventfd_ctx_walk&) = delete;

 private:
  base::walk_scope scope_;
  eventfd_ctx_lock held_;
};

}  // namespace doorbell
