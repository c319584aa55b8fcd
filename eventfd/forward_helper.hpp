// SPDX-License-Identifier: Apache-2.0
//
// forward_helper: threads that write to kernel eventfds where the write may block, so that no signaller does. They are
// started when they are needed, and end when they have been idle for a while. A few are started as jobs come. If these
// are blocked, a further thread is started for each job that waits.
//
// Thread safety: all functions may be called concurrently, without the lock of an eventfd.
// fork: a child has no such thread; its first job starts one. Jobs of the parent stay the parent's.
#pragma once

namespace doorbell::forward_helper {

/// Work for a helper thread. It must stay until serve() has been called, which may free it.
class job {
 public:
  job() noexcept = default;
  job(const job&) = delete;
  job& operator=(const job&) = delete;

  virtual void serve() noexcept = 0;

  job* next = nullptr;  // of those that wait

 protected:
  ~job() = default;
};

/// Has `work` served by a helper thread.
/// @return false if there is no such thread and none can be started: it will not be served.
[[nodiscard]] bool post(job& work) noexcept;

/// Starts a thread for each job that waits and has no idle thread: for a caller that has waited for its job in vain.
void relieve() noexcept;

}  // namespace doorbell::forward_helper
