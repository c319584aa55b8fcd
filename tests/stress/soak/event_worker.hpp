// SPDX-License-Identifier: Apache-2.0
//
// event_worker: a thread of the program. It creates, uses and destroys contexts one after the other while events
// disturb the process. Its oracle: each accepted request has one event, or is dropped by a destroy. The bytes are
// right. A call or a request fails only with errors that docs/aio.md documents for the situation.
#pragma once

#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "limits.hpp"
#include "pause.hpp"
#include "support/blocks.hpp"
#include "support/files.hpp"

namespace doorbell::soak {

/// Shared by the threads of the load.
struct event_world {
  explicit event_world(limits& of_process) noexcept : lowered{of_process} {}

  limits& lowered;
  soak::pause pause;
  std::optional<aio::engine_kind> only;  ///< empty: both, at random
  std::atomic<bool> ends{false};
  std::atomic<std::uint64_t> closes{0};  ///< counts the begin and the end of each close of unknown descriptors
};

/// The files of a thread of the load. They are opened before any other descriptor, and stay open.
struct event_files {
  base::unique_fd direct;
  base::unique_fd cached;
  test::pipe_ends pipe;
  base::unique_fd kernel_eventfd;

  event_files();
};

struct request_counts {
  std::atomic<std::uint64_t> contexts{0};
  std::atomic<std::uint64_t> by_uring{0};  ///< contexts that use io_uring when they are created
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> answered{0};   ///< by an event
  std::atomic<std::uint64_t> destroyed{0};  ///< by the destroy of its context
  std::atomic<std::uint64_t> cancelled{0};  ///< of those answered
  std::atomic<std::uint64_t> short_setups{0};
  std::atomic<std::uint64_t> short_submits{0};
  std::atomic<std::uint64_t> short_waits{0};
  std::atomic<std::uint64_t> short_answers{0};
  std::atomic<std::uint64_t> short_orphans{0};
  std::atomic<std::uint64_t> interrupted{0};
};

class event_worker {
 public:
  event_worker(event_world& world, event_files& files, std::uint64_t seed);
  event_worker(const event_worker&) = delete;
  event_worker& operator=(const event_worker&) = delete;

  /// Runs until the world ends.
  void run();

  [[nodiscard]] const request_counts& counts() const noexcept { return counts_; }
  /// The number of steps. Grows as long as the thread does not hang.
  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_.load(std::memory_order_relaxed); }
  /// The handle of a context, or 0.
  [[nodiscard]] aio::aio_context_t handle() const noexcept { return handle_.load(std::memory_order_acquire); }
  /// The call that the thread executes.
  [[nodiscard]] const char* doing() const noexcept { return doing_.load(std::memory_order_relaxed); }

 private:
  using clock = std::chrono::steady_clock;
  enum class kind : std::uint8_t { read, write, sync, poll, pipe };
  enum class signals : std::uint8_t { none, eventfd, kernel_eventfd };

  /// A request, its buffer, and its block of both files.
  struct place {
    aio::iocb request;
    kind is = kind::read;
    bool is_direct = false;
    bool in_flight = false;
    bool is_cancelled = false;  // a cancel was requested
    bool is_orphan = false;     // the thread that submitted it has ended
    signals target = signals::none;
    std::size_t number = 0;
    test::blocks buffer;
    std::array<char, 2> letter{'a', 'a'};  // the content of its block of the file, by is_direct
    char written = 'a';                    // the letter that the write in flight writes
    std::optional<limits::look> since_submit;
  };

  void step();
  void take_part_in_pause(pause::depth how);

  void set_up();
  void tear_down();
  void settle_destroyed(place& one);
  void drain();
  void check_counts();

  void submit_some();
  void prepare(place& one);
  void prepare_file_request(place& one);
  [[nodiscard]] std::size_t submit(std::span<place*> some, int& error);
  [[nodiscard]] std::size_t submit_once(std::span<place*> some, int& error);
  void accept(place& one);

  void get_some(std::chrono::microseconds longest);
  void account_for(const aio::io_event& event);
  void account_for_result(place& one, std::int64_t res);
  void cancel_one();
  void feed_pipe();

  [[nodiscard]] int file_of(bool direct) const noexcept { return direct ? files_.direct.get() : files_.cached.get(); }
  [[nodiscard]] bool has(const place& one, char letter) const;
  void check_file(place& one, bool direct);
  void rewrite(place& one, bool direct);

  static constexpr std::size_t places = 16;

  event_world& world_;
  event_files& files_;
  std::minstd_rand random_;
  std::optional<aio::context> ctx_;
  std::atomic<aio::aio_context_t> handle_{0};
  std::vector<place> places_;
  test::blocks scratch_ = test::blocks_of('?');
  eventfd efd_{0, EFD_NONBLOCK};
  std::size_t in_flight_ = 0;
  unsigned steps_of_context_ = 0;
  unsigned longest_life_ = 0;
  // Signals that must arrive, since the last check of the counts.
  std::uint64_t signals_ = 0;
  std::uint64_t kernel_signals_ = 0;
  std::uint64_t kernel_late_ = 0;  // missing at the last check
  std::uint64_t closes_at_check_ = 0;
  request_counts counts_;
  std::atomic<std::uint64_t> steps_{0};
  std::atomic<const char*> doing_{""};
};

}  // namespace doorbell::soak
