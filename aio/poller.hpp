// SPDX-License-Identifier: Apache-2.0
//
// poller: one thread in epoll_wait for all requests of the process that wait for a file to be ready. Started when the
// first request waits, asleep while nothing happens, and there until the process ends.
//
// Each request waits with a descriptor of its own, a duplicate of the program's: so several wait on one file, epoll knows
// them apart, and the program may close and reuse its number. They wait for one event at a time (EPOLLONESHOT); epoll names
// them by number, since what it has reported may be complete, and freed, by the time that it is looked at.
//
// Thread safety: all members, at once. Lock: a leaf; clients are called without it. Lifetime: the process's, once its
// thread runs.
#pragma once

#include <cstdint>
#include <map>
#include <system_error>

#include <doorbell/base/mutex.hpp>
#include <doorbell/base/private_fd.hpp>

#include "request.hpp"

namespace doorbell::aio {

class poller {
 public:
  class client {
   public:
    client() = default;
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    /// Called by the poller's thread, which has taken the request. Once that is complete, the client may be gone.
    /// @param events what there is, as poll(2) names it.
    virtual void ready(request& taken, unsigned events) noexcept = 0;

   protected:
    ~client() = default;
  };

  poller() = default;
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;

  /// Lets a request that the caller holds wait on `watched`, and lets go of it.
  /// Errors, and then the caller holds it still: operation_canceled (meanwhile), operation_not_permitted (files that are
  /// always ready), what else epoll_ctl(2) and pthread_create(3) say.
  [[nodiscard]] std::error_code add(client& whose, request& held, unsigned events, base::private_fd watched) noexcept;

  /// The same again for a request that was ready, in vain.
  [[nodiscard]] std::error_code add_again(request& held, unsigned events) noexcept;

  /// Forgets a request that the caller holds, and closes its descriptor.
  void remove(request& held) noexcept;

  /// Around fork(2), in its caller: nothing changes between the two. In the child no thread is left: the descriptors are
  /// closed, and the poller must not be used any more.
  void before_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void after_fork_in_parent() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }
  void after_fork_in_child() noexcept DOORBELL_UNLOCK_FUNCTION(lock_);

 private:
  struct waiting {
    client* whose;
    request* what;
    unsigned events;  // that it waits for
  };

  [[nodiscard]] std::error_code start_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] std::error_code arm_locked(int operation, request& held, unsigned events) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void forget_locked(request& held) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] waiting take(std::uint64_t watch) noexcept;
  [[nodiscard]] int epoll() noexcept;
  [[nodiscard]] bool has_lost_epoll() noexcept;
  void restore_epoll() noexcept;
  [[noreturn]] void run() noexcept;

  base::mutex lock_;
  base::private_fd epoll_ DOORBELL_GUARDED_BY(lock_);
  bool has_thread_ DOORBELL_GUARDED_BY(lock_) = false;  // also while there is no epoll
  std::uint64_t last_watch_ DOORBELL_GUARDED_BY(lock_) = 0;
  std::map<std::uint64_t, waiting> waiting_ DOORBELL_GUARDED_BY(lock_);
};

}  // namespace doorbell::aio
