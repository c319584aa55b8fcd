// SPDX-License-Identifier: Apache-2.0
//
// io_threads: a set of I/O threads: the workers and the poller's thread. They carry out the process's requests that
// complete neither inline, nor in io_uring, nor in the kernel's AIO. All contexts share them. They have their own table
// of descriptors (private_table.hpp). The program's table has two descriptors of the I/O threads: the sending end of
// the channel, and the wakeup eventfd.
//
//   a thread of the program              the poller's thread                a worker
//   start(), once: creates it            enters its own table
//                                        creates the first worker
//   pins files, pushes, adds             polls; creates workers             carries requests out
//
// The poller's thread never sleeps in file I/O, so it can always create another worker. Only an I/O thread can create
// one, because a new thread shares the table of its creator. The first worker stays as long as the poller's thread, so
// a request that was pushed is carried out even if no further thread can be created.
//
// The program may close the I/O threads' descriptors, and reuse their numbers, before the I/O threads' table exists. So
// the poller's thread checks that the descriptors are in its table before it uses one of them. A number may also refer
// to the channel of another set of I/O threads by then. A message that reaches that channel names none of its pins, and
// the sender detects that it has lost its own end.
//
// If the program has closed the I/O threads' descriptors, no more files can be sent. Then the process gets another set
// of I/O threads. The first set completes its requests, and its threads end.
//
// A process has one set of I/O threads, which is created on first use. It lives until the process ends, because its
// threads may run until then, except if it loses its descriptors: such a set is destroyed when its threads have ended
// and all engines that have used it are destroyed. In a child of fork(2) none of its threads exists, and threads that
// do not exist may hold its locks. So the child abandons the parent's set, whatever its state, and creates its own on
// first use.
//
// Lock order: the lock that guards the process's current set, start_lock_, the poller's lock, the lock of file_pins. An
// engine's completion_lock_ is taken before start_lock_.
#pragma once

#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/intrusive_ptr.hpp>
#include <doorbell/base/kref.hpp>
#include <doorbell/base/mutex.hpp>

#include "file_channel.hpp"
#include "file_pins.hpp"
#include "poller.hpp"
#include "wakeup_fd.hpp"
#include "worker_pool.hpp"

namespace doorbell::aio {

/// The workers of a set of I/O threads. The poller's thread creates them.
class io_workers final : public worker_pool {
 public:
  io_workers(limits within, io_threads& of) noexcept : worker_pool{within}, of_{of} {}

  /// Creates a worker that has been counted. Called in the poller's thread.
  [[nodiscard]] std::error_code create_counted() noexcept;
  /// Creates the first worker. Called in the poller's thread.
  [[nodiscard]] std::error_code create_first() noexcept;
  /// Creates the workers that start_worker() has requested. Called in the poller's thread.
  void create_wanted() noexcept;
  [[nodiscard]] bool expects_stall() const noexcept { return expects_stall_.load(base::memory_order_relaxed); }
  /// Creates the workers that start_worker() has requested, and more if requests stall. Called in the poller's thread.
  void grow() noexcept;

 private:
  [[nodiscard]] std::error_code start_worker() noexcept override;
  void expect_stall() noexcept override;

  io_threads& of_;
  base::atomic<unsigned> wanted_{0};  // counted, but not created yet
  base::atomic<bool> expects_stall_{false};
};

struct io_threads {
  /// The set of this process, created on first use. Null if `ec` is set: not_enough_memory.
  [[nodiscard]] static base::intrusive_ptr<io_threads> process(std::error_code& ec) noexcept;
  /// The set of this process after `lost` has lost its descriptors. The caller has a reference to `lost`. Null as
  /// above.
  [[nodiscard]] static base::intrusive_ptr<io_threads> replace(io_threads& lost, std::error_code& ec) noexcept;
  /// The set that the calling thread belongs to; null: none.
  [[nodiscard]] static io_threads* of_this_thread() noexcept;

  /// The limits of the process's set: how many workers it has, and how long one stays without work.
  [[nodiscard]] static worker_pool::limits process_limits() noexcept;

  /// Around fork(2), in the thread that forks.
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;
  /// In a child for which before_fork() was not called.
  static void begin_anew() noexcept;

  /// @param number the serial number of this set of I/O threads in the process.
  explicit io_threads(worker_pool::limits within, unsigned number = 0) noexcept
      // equivalent fault (constant): the tickets of two sets of I/O threads differ, too, if they are farther apart
      : serial{number}, pins{channel, wakeup, file_pins::ticket{number} << 32U}, workers{within, *this} {}

  /// The process, the poller's thread, and each engine that uses the set hold a reference. The last put() waits
  /// until the workers have ended.
  void get() noexcept { references_.get(); }
  void put() noexcept {
    if (references_.put()) delete this;
  }

  /// Starts the threads, unless they are running. Called in a thread of the program.
  /// Errors: those of pthread_create(3), socketpair(2), eventfd(2), epoll_create1(2), close_range(2).
  [[nodiscard]] std::error_code start() noexcept;
  /// This set is no longer the process's: its threads end when they have completed its requests.
  void retire() noexcept;
  /// Called by each I/O thread when it starts.
  void enlist_this_thread() noexcept;

  const unsigned serial;
  file_channel channel;
  wakeup_fd wakeup;
  file_pins pins;
  poller waits{pins, wakeup};
  io_workers workers;
  /// Held during a transfer that would sleep if another request of this process had taken the data first.
  base::mutex transfer_mutex;
  io_threads* inherited = nullptr;  // the parent process's: never used, but reachable for leak checkers

 private:
  enum class state { idle, starting, running, failed };

  void unlock_after_fork() noexcept;
  void run() noexcept;
  [[nodiscard]] std::error_code set_up() noexcept;
  void report(std::error_code answer) noexcept;

  base::kref references_;
  base::atomic<bool> is_running_{false};  // release: the threads are set up
  base::atomic<bool> is_retired_{false};
  base::mutex start_lock_;
  base::condition_variable started_;
  state state_ DOORBELL_GUARDED_BY(start_lock_) = state::idle;
  std::error_code answer_ DOORBELL_GUARDED_BY(start_lock_);
};

}  // namespace doorbell::aio
