// SPDX-License-Identifier: Apache-2.0
//
// forward_helper: threads that write to kernel eventfds if the write may block, so that no signaller blocks. Threads
// are started when needed, and end when they have been idle for some seconds. Up to four are started as jobs come. If
// these are blocked, a further thread is started for each job that waits.
//
// Thread safety: all functions may be called concurrently, but not with the lock of an eventfd held.
// fork: a child has no helper threads; its first job starts one. Jobs of the parent stay with the parent.
#pragma once

namespace doorbell::forward_helper {

/// Work for a helper thread. It must stay in memory until serve() has been called, which may free it.
class job {
 public:
  job() noexcept = default;
  job(const job&) = delete;
  job& operator=(const job&) = delete;

  virtual void serve() noexcept = 0;

  job* next = nullptr;  // in the list of waiting jobs

 protected:
  ~job() = default;
};

/// Passes `work` to a helper thread, which calls serve().
/// @return false if there is no helper thread and none can be started: serve() will not be called.
[[nodiscard]] bool post(job& work) noexcept;

/// Starts a thread for each waiting job that has no idle thread. For a caller whose job has not been served in time.
void relieve() noexcept;

}  // namespace doorbell::forward_helper
