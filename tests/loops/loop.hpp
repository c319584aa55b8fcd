// SPDX-License-Identifier: Apache-2.0
//
// loop: the interface of the event loops under test. Each *_loop.cpp in this folder implements it with one library or
// system call. A loop waits for descriptors in one thread and calls callbacks in that thread.
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
  /// Stops watching all descriptors. The loop must not be running.
  virtual ~loop() = default;

  /// Makes the loop call `on_readable` when `fd` is readable, level- or edge-triggered.
  virtual void watch(int fd, std::function<void()> on_readable) = 0;
  /// Calls callbacks until stop(). Sleeps while no descriptor is ready.
  virtual void run() = 0;
  /// Calls the callbacks of all descriptors that are ready now, without sleeping.
  virtual void run_ready() = 0;
  /// Called in a callback: run() returns after the callback.
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
