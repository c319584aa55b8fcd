// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace doorbell::fuzz {

/// A thread that exists as long as the process, and runs a task while its owner continues. Creating threads for each
/// input would take longer than running the input.
class helper {
 public:
  helper() {
    // The thread never ends, so it is not joined. A helper exists as long as the process.
    std::thread{[this] { work(); }}.detach();
  }
  ~helper() = delete;
  helper(const helper&) = delete;
  helper& operator=(const helper&) = delete;

  /// Starts `task`. Call finish() before the next start().
  void start(std::function<void()> task) {
    const std::lock_guard held{lock_};
    task_ = std::move(task);
    changed_.notify_all();
  }

  /// Waits until the task, if there is one, has returned.
  void finish() {
    std::unique_lock held{lock_};
    changed_.wait(held, [&] { return !task_; });
  }

 private:
  void work() {
    std::unique_lock held{lock_};
    for (;;) {
      changed_.wait(held, [&] { return task_ != nullptr; });
      held.unlock();
      task_();
      held.lock();
      task_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex lock_;
  std::condition_variable changed_;
  std::function<void()> task_;
};

}  // namespace doorbell::fuzz
