// SPDX-License-Identifier: Apache-2.0
//
// eventfd_play: runs an input as calls of two or three threads on three eventfds, and on notifiers with callbacks that
// signal, drain, unregister, close, and make calls that must be refused.
//
// Its oracles, besides those of fuzzed_eventfd, fuzzed_notifier and rest_room:
//  - no crash, no hang, nothing for a sanitizer to report;
//  - the poll descriptor is readable exactly if there is a count, when no thread changes the count any more;
//  - if a notifier still exists when its eventfd is closed, its release() is called, which may destroy the notifier.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <doorbell/eventfd.hpp>

#include "fuzzed_eventfd.hpp"
#include "fuzzed_notifier.hpp"
#include "helper.hpp"
#include "input.hpp"
#include "rest_room.hpp"

namespace doorbell::fuzz {

class eventfd_play {
 public:
  eventfd_play() = default;
  ~eventfd_play() = delete;
  eventfd_play(const eventfd_play&) = delete;
  eventfd_play& operator=(const eventfd_play&) = delete;

  /// Runs one input, and releases everything that it has created.
  void run(input bytes);

 private:
  static constexpr std::size_t most_threads = 3;
  static constexpr std::size_t eventfd_count = 3;
  static constexpr std::size_t shared_notifiers = 2;

  struct call;
  struct program {
    std::vector<call> calls;
    std::array<eventfd, eventfd_count> handles;  // this thread's own
    std::vector<eventfd> copies;
  };
  using operation = void (eventfd_play::*)(program&, const call&);
  struct call {
    operation what;
    std::size_t efd;
    std::size_t which;  // selects a variant of the call
    std::uint64_t n;
  };

  void decide_on_eventfds(input& bytes);
  void decide_on_notifiers(input& bytes);
  void decide_on_calls(input& bytes);
  void play(std::size_t thread);
  void end_input();

  // Calls.
  void signal(program& by, const call& one);
  void write(program& by, const call& one);
  void read(program& by, const call& one);
  void sleep_in_read(program& by, const call& one);
  void sleep_in_write(program& by, const call& one);
  void drain(program& by, const call& one);
  void copy(program& by, const call& one);
  void close(program& by, const call& one);
  void register_own(program& by, const call& one);
  void unregister_own(program& by, const call& one);
  void register_shared(program& by, const call& one);
  void unregister_shared(program& by, const call& one);
  void ask_for_descriptor(program& by, const call& one);
  void forward(program& by, const call& one);
  void look(program& by, const call& one);
  void plant(program& by, const call& one);

  fuzzed_notifier& own(const program& by) { return notifiers_.at(static_cast<std::size_t>(&by - programs_.data())); }
  fuzzed_notifier& shared(const call& one) { return notifiers_.at(most_threads + one.which % shared_notifiers); }
  void took(std::size_t efd, std::uint64_t n) { efds_.at(efd).taken += n; }

  std::array<fuzzed_eventfd, eventfd_count> efds_;
  // The first most_threads belong to one thread each, the others are shared.
  std::array<fuzzed_notifier, most_threads + shared_notifiers> notifiers_;
  std::array<program, most_threads> programs_;
  std::size_t threads_ = 0;
  bool first_stay_open_ = true;  // whether the handles that the threads copied stay open
  std::atomic<std::size_t> arrived_{0};
  std::atomic<int> planted_{0};
  rest_room rest_room_;
  std::array<helper*, most_threads - 1> helpers_{new helper, new helper};
};

}  // namespace doorbell::fuzz
