// SPDX-License-Identifier: Apache-2.0
//
// process_end: before the process ends or executes another program, it waits for the file I/O that its contexts have
// accepted, as the kernel's exit and execve wait for the kernel's AIO. When a process ends, io_uring cancels its
// requests in flight, and its worker threads end, so the process must wait before.
//
//   submitter                            ending thread
//   in_flight_ += its requests           closes the gate
//   gate closed? -> subtracts them,      reads in_flight_ of each context
//     and waits until it is open
//   starts them
//
//   legal:     the submitter finds the gate closed, or the ending thread finds the requests and waits for them.
//   forbidden: neither: the process ends before an accepted write is in its file. Each thread writes, then reads what
//              the other thread writes, and all four accesses are seq_cst.
//
// The ending thread may run a signal handler that has interrupted any function, even a doorbell function that holds
// locks. It therefore takes no lock, allocates nothing and calls no callback: it reads counters inside RCU sections,
// and sleeps between them. If it has not interrupted a doorbell call, it may also reap a context, for two reasons:
//   - A request that io_uring has cancelled because its submitting thread has ended must be started again.
//   - A count must be added to a kernel eventfd. Another process may wait for that eventfd, and the kernel signals it
//     for each request even if the process that has submitted the request ends.
//
//   a thread that reaps                  ending thread
//   in_flight_ -= the file request       file I/O left? no
//   signals the eventfd                  signals left? yes -> looks again
//   signals_left_ -= 1
//
//   forbidden: the process ends between the first two steps of the reaping thread. signals_left_ is raised before
//              in_flight_, and lowered after the signal.
//
// A child of vfork(2) or clone(2) that has made no context neither waits nor closes the gate.
//
// Thread safety: all members may be called concurrently and in signal handlers.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

/// Called before a context is made: from now on the process waits for file I/O before it ends. @return the process's
/// pid.
pid_t expect_process_end() noexcept;

/// Every submission of file I/O to an engine passes this gate. Inline I/O does not: it is complete when submit returns.
class submission_gate {
 public:
  /// @return whether the gate is closed for the calling thread: threads that keep it closed themselves pass.
  [[nodiscard]] static bool is_closed() noexcept {
    return closers_.load(base::memory_order_seq_cst) != 0 && !is_closer_;
  }

  /// Waits until the gate is open. @return false if the caller cannot wait: the process ends, or the caller is a
  /// callback.
  [[nodiscard]] static bool wait_until_open() noexcept;

 private:
  friend class file_io_pause;
  friend pid_t expect_process_end() noexcept;

  static void reset() noexcept;
  static void close() noexcept;
  static void open() noexcept;
  static void close_for_good() noexcept;

  static constexpr std::uint32_t for_good = std::uint32_t{1} << 31;

  static base::atomic<std::uint32_t> closers_;  // number of threads that close it, plus for_good if the process ends
  static thread_local constinit bool is_closer_ __attribute__((tls_model("initial-exec")));
};

/// While one exists, engines accept no file I/O from other threads. The constructor waits for the accepted file I/O.
class file_io_pause {
 public:
  /// Waits. In a callback, or in a signal handler that has interrupted a doorbell call, it stops waiting when no
  /// request has been completed for a second, because the interrupted call may hold locks that the requests need.
  file_io_pause() noexcept;
  ~file_io_pause();
  file_io_pause(const file_io_pause&) = delete;
  file_io_pause& operator=(const file_io_pause&) = delete;

  /// The process ends: the gate stays closed.
  void keep() noexcept;

 private:
  bool has_closed_ = false;
  bool was_closer_ = false;
};

}  // namespace doorbell::aio
