// SPDX-License-Identifier: Apache-2.0
//
// loop_thread: a thread that runs an Asio loop until it is stopped or destroyed.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <thread>

#include "pinned.hpp"

namespace doorbell::bench {

class loop_thread {
 public:
  loop_thread() : thread_{[this] { io_.run(); }} {}
  /// Pins the thread to one CPU. @param place see pinned.
  explicit loop_thread(std::size_t place)
      : thread_{[this, place] {
          const pinned here{place};
          io_.run();
        }} {}
  ~loop_thread() { stop(); }
  loop_thread(const loop_thread&) = delete;
  loop_thread& operator=(const loop_thread&) = delete;

  [[nodiscard]] boost::asio::io_context& io() noexcept { return io_; }
  /// Returns when no handler runs any more.
  void stop() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  boost::asio::io_context io_{1};  // 1: one thread runs it; the fastest setting, for all peers
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  std::thread thread_;
};

}  // namespace doorbell::bench
