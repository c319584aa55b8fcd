// SPDX-License-Identifier: Apache-2.0
//
// poller: waits until the files of the I/O threads' requests are ready. Its epoll is in the I/O threads' own table.
//
// Each request has a descriptor of its own in that table (file_pins), so that several requests can wait for one file,
// and the program may close its descriptor and reuse the number. A request waits for one event at a time
// (EPOLLONESHOT). The epoll identifies requests by keys, not by pointers, because a request may be complete, and freed,
// when the poller's thread handles its event.
//
//   add(), in a thread of the program    the poller's thread
//   waiting_[watch]; pending             wakes
//   wakeup                               arm_new(): receives the file, adds it to the epoll
//                                        event; take(): holds the request; client::ready()
//
//   legal:     a cancel takes the request before it is armed. If waiting_ still contains it, it is armed nevertheless,
//              and take() fails for its event.
//   forbidden: the event comes while the request is not pending, and is lost. add() makes the request pending before
//              the poller's thread can arm it, and a file that is ready when it is armed causes an event.
//
// Thread safety: add() and remove() may be called concurrently, in any thread; the other members in I/O threads.
// Lock: clients are called without it; the lock of file_pins is acquired under it.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <map>
#include <system_error>
#include <vector>

#include <doorbell/base/mutex.hpp>

#include "../../request/request.hpp"
#include "file_pins.hpp"
#include "wakeup_fd.hpp"

namespace doorbell::aio {

class poller {
 public:
  class client {
   public:
    client() = default;
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    /// Called by the poller's thread, which holds the request. Once the request is complete, the client may be gone.
    /// @param events those of poll(2).
    virtual void ready(request& taken, unsigned events) noexcept = 0;
    /// The same, if epoll refuses the file. @param error of epoll_ctl(2): EPERM for files that cannot be polled.
    virtual void refused(request& taken, int error) noexcept = 0;

   protected:
    ~client() = default;
  };

  poller(file_pins& pins, wakeup_fd& wakeup) noexcept : pins_{pins}, wakeup_{wakeup} {}
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;

  /// Creates the epoll in the descriptor table of the calling thread.
  /// Errors: those of epoll_create1(2) and epoll_ctl(2).
  [[nodiscard]] std::error_code open() noexcept;

  /// Lets a pinned request that the caller holds wait for its file. On success the caller no longer holds the request.
  /// Errors, after which the caller still holds it: operation_canceled (it was cancelled meanwhile), not_enough_memory.
  [[nodiscard]] std::error_code add(client& whose, request& held, unsigned events) noexcept;

  /// The same for a request whose file was reported ready, but was not. Errors: also those of epoll_ctl(2).
  [[nodiscard]] std::error_code add_again(request& held, unsigned events) noexcept;

  /// Forgets a request that the caller holds.
  void remove(request& held) noexcept;

  /// One round of the poller's thread: sleeps until an event comes, or for `milliseconds`; adds new requests to the
  /// epoll; calls the clients of the requests that are ready.
  void poll_once(int milliseconds) noexcept;

  [[nodiscard]] bool is_empty() noexcept;

  /// Around fork(2), in the thread that forks.
  void lock_for_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void unlock_after_fork() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }

 private:
  struct waiting {
    client* whose;
    request* what;
    unsigned events;
  };

  void arm_new() noexcept;
  [[nodiscard]] int arm(std::uint64_t watch) noexcept;
  void reopen_without_sleeping(const request& asked) noexcept;
  [[nodiscard]] std::error_code let_go_locked(request& held) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] waiting take(std::uint64_t watch) noexcept;

  file_pins& pins_;
  wakeup_fd& wakeup_;
  int epoll_ = -1;  // in the I/O threads' table; set before the first request comes

  base::mutex lock_;
  std::uint64_t last_watch_ DOORBELL_GUARDED_BY(lock_) = 0;
  std::map<std::uint64_t, waiting> waiting_ DOORBELL_GUARDED_BY(lock_);
  std::vector<std::uint64_t> new_ DOORBELL_GUARDED_BY(lock_);  // watches that are not in the epoll yet
};

}  // namespace doorbell::aio
