// SPDX-License-Identifier: Apache-2.0
//
// ring: a program reads events directly at a context's handle, without a call of doorbell.
#include "context/ring.hpp"

#include <cstdint>
#include <system_error>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

/// The program, and its view of the ring. It reads events with plain loads, so an unordered read is a data race.
class program {
 public:
  explicit program(const aio::ring& ring) : there_{*static_cast<layout*>(ring.address())} {}

  /// Reads the events that it finds, at most `most`, and checks that their numbers are consecutive.
  void take_events(unsigned most) {
    const auto tail = atomic(there_.tail).load(base::memory_order_acquire);
    auto head = atomic(there_.head).load(base::memory_order_relaxed);
    for (unsigned i = 0; i < most && head != tail; ++i) {
      REQUIRE(events()[head].res == next_);
      ++next_;
      head = (head + 1) % there_.nr;
    }
    atomic(there_.head).store(head, base::memory_order_release);
  }
  [[nodiscard]] std::int64_t next() const noexcept { return next_; }

 private:
  struct alignas(aio::io_event) layout {  // the events follow
    unsigned id;
    unsigned nr;
    unsigned head;
    unsigned tail;
    unsigned others[4];
  };

  static base::atomic_ref<unsigned> atomic(unsigned& word) noexcept { return base::atomic_ref<unsigned>{word}; }
  [[nodiscard]] const aio::io_event* events() const noexcept {
    return reinterpret_cast<const aio::io_event*>(&there_ + 1);
  }

  layout& there_;
  std::int64_t next_ = 0;
};

/// A ring, and doorbell's calls on it. Publishes numbered events.
class numbered_ring {
 public:
  numbered_ring() {
    std::error_code ec;
    ring_.map(1, ec);
    REQUIRE(!ec);
  }
  /// @return whether there was room for the event.
  bool publish() {
    if (!ring_.take_slot()) return false;
    ring_.publish({.data = nullptr, .obj = nullptr, .res = published_, .res2 = 0});
    ring_.commit();
    ++published_;
    return true;
  }
  [[nodiscard]] std::int64_t published() const noexcept { return published_; }
  /// Gets all remaining events. @return the number that the next event would have.
  std::int64_t get_rest(std::int64_t next) {
    for (aio::io_event event{}; ring_.get({&event, 1}) == 1; ++next) REQUIRE(event.res == next);
    return next;
  }
  [[nodiscard]] const aio::ring& ring() const noexcept { return ring_; }

 private:
  aio::ring ring_;
  std::int64_t published_ = 0;
};

}  // namespace

WEAK_SCENARIO(ring_publication, 3, 3, "a program that sees a new tail reads each event completely, once, in order") {
  numbered_ring ring;
  program reader{ring.ring()};
  together({{"publisher",
             [&] {
               ring.publish();
               ring.publish();
             }},
            {"program", [&] {
               reader.take_events(2);
               reader.take_events(2);
             }}});
  REQUIRE(ring.get_rest(reader.next()) == 2);
}

WEAK_SCENARIO(ring_slot_again, 3, 3, "a slot is written again only after the program has read it and moved head") {
  numbered_ring ring;
  program reader{ring.ring()};
  while (ring.publish()) {
  }
  const auto full = ring.published();
  // One slot always stays empty, so the second new event is the first one that reuses a slot.
  together({{"publisher",
             [&] {
               ring.publish();
               ring.publish();
             }},
            {"program", [&] {
               reader.take_events(1);
               reader.take_events(1);
             }}});
  REQUIRE(reader.next() == 2);
  REQUIRE(ring.published() >= full && ring.published() <= full + 2);
  REQUIRE(ring.get_rest(reader.next()) == ring.published());
}

}  // namespace doorbell::model
