// SPDX-License-Identifier: Apache-2.0
//
// rest_room: ends the sleep of threads that would otherwise sleep forever.
//
// A thread enters before a call that may sleep, and leaves afterwards. If a thread is about to sleep or end, and all
// others sleep or have ended, it ends all sleeps by the stop token. Before that, it checks whether the wait condition
// of any sleeper holds: such a sleeper has missed its wakeup.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include <doorbell/eventfd.hpp>

#include "require.hpp"

namespace doorbell::fuzz {

class rest_room {
 public:
  /// The cause of a thread's sleep: it waits for a count, or for room for one.
  struct sleep {
    eventfd_ctx* efd;
    std::uint64_t room;  // 0: it waits for a count

    [[nodiscard]] bool has_no_reason() const noexcept {
      const auto count = efd->count();
      return room == 0 ? count > 0 : count <= eventfd::max && room <= eventfd::max - count;
    }
    bool operator==(const sleep&) const = default;
  };

  /// Called before each input.
  void renew(std::size_t threads) {
    awake_ = threads;
    sleeping_.clear();
    stop_ = std::stop_source{};
  }

  /// The stop token that ends the sleeps.
  [[nodiscard]] std::stop_token token() const { return stop_.get_token(); }

  void enter(const sleep& mine) {
    {
      const std::lock_guard held{lock_};
      --awake_;
      sleeping_.push_back(mine);
    }
    see_to_the_others(&mine);
  }
  void leave(const sleep& mine) {
    const std::lock_guard held{lock_};
    ++awake_;
    sleeping_.erase(std::ranges::find(sleeping_, mine));
  }
  /// The calling thread makes no more calls here.
  void end() {
    {
      const std::lock_guard held{lock_};
      --awake_;
    }
    see_to_the_others(nullptr);
  }

 private:
  using clock = std::chrono::steady_clock;
  static constexpr auto patience = std::chrono::seconds{10};

  // Returns if another thread is awake or about to wake up: that thread will call this function later.
  void see_to_the_others(const sleep* mine) {
    const auto give_up = clock::now() + patience;
    for (;;) {
      {
        const std::lock_guard held{lock_};
        if (awake_ > 0 || (mine != nullptr && mine->has_no_reason())) return;
        if (std::ranges::none_of(sleeping_, &sleep::has_no_reason)) break;
      }
      require(clock::now() < give_up, "no thread sleeps while its wait condition holds");
      std::this_thread::yield();
    }
    stop_.request_stop();
  }

  std::mutex lock_;
  std::size_t awake_ = 0;
  std::vector<sleep> sleeping_;
  std::stop_source stop_;
};

}  // namespace doorbell::fuzz
