// SPDX-License-Identifier: Apache-2.0
//
// crew: the threads of a process that carry out requests where io_uring does not: the workers and the poller's thread, which
// all contexts share. They have a table of descriptors of their own (private_table.hpp). The program's table has two
// descriptors of the crew: the sending end of the channel and the wakeup.
//
//   a thread of the program              the poller's thread                a worker
//   start(), once: creates it            enters its own table
//                                        creates the first worker
//   pins files, pushes, adds             polls; creates workers             carries out
//
// The poller's thread never sleeps in file I/O, so that it can always create another worker; and only a thread of the crew
// can, because a new thread shares the table of its creator. The first worker stays until the process ends: a request that
// was pushed is carried out though no further thread can be had.
//
// The program may close the descriptors that the crew's table is to have before there is that table, and use their
// numbers. The poller's thread looks whether they are in its table before it uses one of them. A number may also be the
// channel of another crew by then; a message that reaches that one names none of its pins, and the sender finds that it
// has lost its end.
//
// If the program has closed the crew's descriptors, no file can be sent any more. Then the process gets another crew. The
// first one completes what it has, and its threads end.
//
// A process has one, made on first need. It lasts until the process ends, because its threads may run until then,
// unless it loses its descriptors: then it is destroyed when its threads have ended and no engine has requests with it.
// In a child of fork(2) none of its threads exists, and threads that do not exist may hold its locks; so the child
// forgets the parent's crew, whatever state it is in, and makes its own on first need.
//
// Lock order: the lock that guards which crew is the process's, then the lock of the start, then the poller's, then
// that of the pins. An engine's completion lock comes before that of the start.
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

/// The workers of a crew, which its poller's thread creates.
class crew_workers final : public worker_pool {
 public:
  crew_workers(limits within, crew& of) noexcept : worker_pool{within}, of_{of} {}

  /// Creates a worker that has been counted. Called in the poller's thread.
  [[nodiscard]] std::error_code create_counted() noexcept;
  /// Creates the first one. Called in the poller's thread.
  [[nodiscard]] std::error_code create_first() noexcept;
  /// Creates those that were wanted, and those that a stall requires. Called in the poller's thread.
  void create_wanted() noexcept;
  [[nodiscard]] bool expects_stall() const noexcept { return expects_stall_.load(base::memory_order_relaxed); }
  void grow() noexcept;

 private:
  [[nodiscard]] std::error_code start_worker() noexcept override;
  void expect_stall() noexcept override;

  crew& of_;
  base::atomic<unsigned> wanted_{0};  // counted, and not created yet
  base::atomic<bool> expects_stall_{false};
};

struct crew {
  /// The one of this process. Null when `ec` is set: not_enough_memory.
  [[nodiscard]] static base::intrusive_ptr<crew> process(std::error_code& ec) noexcept;
  /// The one of this process after `lost`, of which the caller has a reference, has lost its descriptors.
  [[nodiscard]] static base::intrusive_ptr<crew> replace(crew& lost, std::error_code& ec) noexcept;
  /// The crew to which the calling thread belongs. Null: none.
  [[nodiscard]] static crew* of_this_thread() noexcept;

  /// How many workers the process's has at most, and for how long one stays without work.
  [[nodiscard]] static worker_pool::limits process_limits() noexcept;

  /// Around fork(2), in the thread that forks.
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;
  /// The same in a child for which before_fork() was not called.
  static void begin_anew() noexcept;

  /// @param number which crew of the process it is.
  explicit crew(worker_pool::limits within, unsigned number = 0) noexcept
      // equivalent fault (constant): the tickets of two crews differ, too, if they are farther apart
      : serial{number}, pins{channel, wakeup, file_pins::ticket{number} << 32U}, workers{within, *this} {}

  /// The process, the poller's thread, and each engine that has given it requests have a reference. The last one waits
  /// for the workers to end.
  void get() noexcept { references_.get(); }
  void put() noexcept {
    if (references_.put()) delete this;
  }

  /// Starts the threads, if they do not run yet. Called in a thread of the program.
  /// Errors: those of pthread_create(3), socketpair(2), eventfd(2), epoll_create1(2), close_range(2).
  [[nodiscard]] std::error_code start() noexcept;
  /// The crew is not the process's any more: its threads end when they have completed its requests.
  void retire() noexcept;
  /// Called by each thread of the crew when it starts.
  void enlist_this_thread() noexcept;

  const unsigned serial;
  file_channel channel;
  wakeup_fd wakeup;
  file_pins pins;
  poller waits{pins, wakeup};
  crew_workers workers;
  /// For transfers that may sleep if another request of ours was quicker.
  base::mutex one_at_a_time;
  crew* inherited = nullptr;  // the parent process's: not to be used, and not lost either

 private:
  enum class state { idle, starting, running, failed };

  void unlock_after_fork() noexcept;
  void run() noexcept;
  [[nodiscard]] std::error_code set_up() noexcept;
  void report(std::error_code answer) noexcept;

  base::kref references_;
  base::atomic<bool> is_running_{false};  // release: the threads' set-up is complete
  base::atomic<bool> is_retired_{false};
  base::mutex start_lock_;
  base::condition_variable started_;
  state state_ DOORBELL_GUARDED_BY(start_lock_) = state::idle;
  std::error_code answer_ DOORBELL_GUARDED_BY(start_lock_);
};

}  // namespace doorbell::aio
