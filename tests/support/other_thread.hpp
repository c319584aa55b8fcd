// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace doorbell::test {

/// A thread that runs the functions that the caller passes to it, while the caller waits.
class other_thread {
 public:
  ~other_thread() { pass(nullptr, true); }

  template <class Body>
  void run(Body body) {
    const std::function<void()> task{std::ref(body)};
    pass(&task, false);
  }

  other_thread() = default;
  other_thread(const other_thread&) = delete;
  other_thread& operator=(const other_thread&) = delete;

 private:
  void pass(const std::function<void()>* task, bool last) {
    std::unique_lock held{lock_};
    task_ = task;
    last_ = last;
    changed_.notify_all();
    changed_.wait(held, [&] { return task_ == nullptr; });
  }

  void work() {
    std::unique_lock held{lock_};
    for (;;) {
      changed_.wait(held, [&] { return task_ != nullptr || last_; });
      if (last_) return;
      (*task_)();
      task_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex lock_;
  std::condition_variable changed_;
  const std::function<void()>* task_ = nullptr;
  bool last_ = false;
  std::jthread thread_{[this] { work(); }};
};

}  // namespace doorbell::test
