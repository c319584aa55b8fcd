// SPDX-License-Identifier: Apache-2.0
//
// loop: the event loop of the tests. Each of the others in this folder implements it with a real library: it waits for
// descriptors in one thread and calls back in that thread.
#pragma once

#include <functional>
#include <memory>

namespace doorbell::test {

enum class trigger {
  level,  ///< calls back as long as the descriptor is readable
  edge,   ///< calls back when it becomes readable
};

class loop {
 public:
  loop() = default;
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;
  /// Does not run, and watches nothing any more.
  virtual ~loop() = default;

  /// Makes the loop call `on_readable`.
  virtual void watch(int fd, std::function<void()> on_readable) = 0;
  /// Calls back, and sleeps when there is nothing to call back for, until stop().
  virtual void run() = 0;
  /// Calls back for what is ready now.
  virtual void run_ready() = 0;
  /// In a callback: run() returns after it.
  virtual void stop() = 0;
};

using make_loop = std::unique_ptr<loop> (*)();

std::unique_ptr<loop> make_poll_loop();
template <trigger How>
std::unique_ptr<loop> make_epoll_loop();
std::unique_ptr<loop> make_libuv_loop();
template <trigger How>
std::unique_ptr<loop> make_libevent_loop();
std::unique_ptr<loop> make_glib_loop();

}  // namespace doorbell::test
