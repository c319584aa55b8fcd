// SPDX-License-Identifier: Apache-2.0
//
// aio_play: runs an input as a sequence of calls on AIO contexts, by handle: correct ones, and all kinds of wrong ones.
//
// Its oracles:
//  - no crash, no hang, nothing for a sanitizer to report;
//  - in a context whose ring the program does not overwrite, each accepted request has exactly one event, with its own
//    data, also if the request is cancelled, or if the program takes events out of the ring itself;
//  - a request signals the eventfd that it names exactly once, also if the program has overwritten, moved or replaced
//    the ring meanwhile;
//  - exactly one of several destroys of a context succeeds; afterwards no buffer is accessed, no descriptor is left
//    open, and the limit of contexts does not count the context.
//
// It waits without a timeout only for requests that complete by themselves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <vector>

#include "aio_contexts.hpp"
#include "aio_eventfds.hpp"
#include "aio_files.hpp"
#include "aio_requests.hpp"
#include "aio_slots.hpp"
#include "helper.hpp"
#include "input.hpp"

namespace doorbell::fuzz {

class aio_play {
 public:
  aio_play();
  ~aio_play() = delete;
  aio_play(const aio_play&) = delete;
  aio_play& operator=(const aio_play&) = delete;

  /// Runs one input, and releases everything that it has created.
  void run(input bytes);

 private:
  using operation = void (aio_play::*)(input&);
  static constexpr std::size_t most_events = 64;

  /// The helper's call and its result.
  struct call_aside {
    enum class kind : std::uint8_t { none, destroy, get, cancel };
    kind what = kind::none;
    fuzzed_context* on = nullptr;
    int answer = 0;
    std::array<aio::io_event, most_events> events{};
  };

  void step(input& bytes);

  // Operations.
  void setup(input& bytes);
  void setup_badly(input& bytes);
  void destroy(input& bytes);
  void destroy_badly(input& bytes);
  void submit(input& bytes);
  void submit_badly(input& bytes);
  void submit_again(input& bytes);
  void cancel(input& bytes);
  void cancel_badly(input& bytes);
  void get(input& bytes);
  void get_badly(input& bytes);
  void change_stream(input& bytes);
  void replace_eventfd(input& bytes);
  void take_events_from_ring(input& bytes);
  void scribble(input& bytes);
  void move_ring(input& bytes);
  void replace_ring(input& bytes);
  void begin_aside(input& bytes);

  // Parts of operations.
  fuzzed_context& choose_context(input& bytes) { return contexts_.at(bytes.below(aio_contexts::count)); }
  slot* choose_slot(input& bytes);
  [[nodiscard]] aio::aio_context_t no_handle(input& bytes);
  [[nodiscard]] timespec* choose_timeout(input& bytes, timespec& room, bool may_be_endless) const;
  void taken(slot& one, fuzzed_context& by, const std::optional<std::size_t>& efd);
  void finish_aside();
  [[nodiscard]] bool contested(const fuzzed_context& one) const;
  void see_to_its_end(fuzzed_context& one);
  void collect_events(fuzzed_context& one);
  void end_input(bool collect);

  // Between inputs.
  void warm_up();
  [[nodiscard]] static std::size_t open_descriptors();

  aio_files files_;
  aio_eventfds efds_;
  aio_slots& slots_ = *new aio_slots;
  aio_contexts contexts_;
  helper& helper_ = *new helper;
  call_aside aside_;
  std::array<std::optional<std::size_t>, aio_slots::count> eventfd_of_{};  // by slot
  aio::aio_context_t last_destroyed_ = 0;
  ring_header fake_ring_{};
  std::size_t inputs_ = 0;
  std::size_t descriptors_ = 0;  // open between inputs
};

}  // namespace doorbell::fuzz
