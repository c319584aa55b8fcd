// SPDX-License-Identifier: Apache-2.0
//
// load_threads: the threads of a load, which run its rounds; gate: brings all loads to rest at the same time.
#pragma once

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "load.hpp"

namespace doorbell::soak {

/// Loads pass the gate between two rounds.
class gate {
 public:
  /// Waits while the gate is closed. @return false if there is no other round.
  bool pass() {
    std::unique_lock held{lock_};
    ++at_rest_;
    changed_.notify_all();
    changed_.wait(held, [this] { return open_ || ended_; });
    --at_rest_;
    return !ended_;
  }

  /// From now on no load passes. @return whether `loads` loads have come to rest in time.
  [[nodiscard]] bool close(std::size_t loads, std::chrono::seconds patience) {
    std::unique_lock held{lock_};
    open_ = false;
    return changed_.wait_for(held, patience, [&] { return at_rest_ == loads; });
  }
  void open() {
    const std::lock_guard held{lock_};
    open_ = true;
    changed_.notify_all();
  }
  void end() {
    const std::lock_guard held{lock_};
    ended_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  std::size_t at_rest_ = 0;
  bool open_ = true;
  bool ended_ = false;
};

class load_threads {
 public:
  load_threads(std::unique_ptr<load> work, gate& between_rounds)
      : load_{std::move(work)}, gate_{between_rounds}, meet_{static_cast<std::ptrdiff_t>(load_->threads())} {
    for (std::size_t thread = 0; thread < load_->threads(); ++thread)
      threads_.emplace_back([this, thread] { run(thread); });
  }
  load_threads(const load_threads&) = delete;
  load_threads& operator=(const load_threads&) = delete;

  [[nodiscard]] const load& work() const noexcept { return *load_; }
  [[nodiscard]] std::uint64_t rounds() const noexcept { return rounds_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool at_rest() const noexcept { return at_rest_.load(std::memory_order_relaxed); }

 private:
  void run(std::size_t thread) {
    for (;;) {
      if (thread == 0) {
        at_rest_.store(true, std::memory_order_relaxed);
        more_ = gate_.pass();
        at_rest_.store(false, std::memory_order_relaxed);
        if (more_) load_->prepare();
      }
      meet_.arrive_and_wait();
      if (!more_) return;
      load_->work(thread);
      meet_.arrive_and_wait();
      if (thread != 0) continue;
      load_->end();
      rounds_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  const std::unique_ptr<load> load_;
  gate& gate_;
  std::barrier<> meet_;
  bool more_ = true;  // written by the first thread, read by the others after meet_
  std::atomic<std::uint64_t> rounds_{0};
  std::atomic<bool> at_rest_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace doorbell::soak
