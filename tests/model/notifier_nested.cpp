// SPDX-License-Identifier: Apache-2.0
//
// notifier: calls that a callback makes on its own eventfd and on others.
#include "scenario.hpp"

#include <cstdint>
#include <system_error>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

namespace doorbell::model {
namespace {

constexpr unsigned ways_to_be_refused = 9;

/// Makes one of the calls that acquire the lock of `elsewhere`, where `watcher` is registered. Runs in a callback of
/// another eventfd.
void try_one(unsigned way, const eventfd& elsewhere, notifier& watcher) {
  std::error_code ec;
  std::uint64_t count = 0;
  if (way == 0) notifier{[](auto&) {}}.register_with(elsewhere, ec);
  if (way == 1) watcher.unregister(ec);
  if (way == 2) watcher.unregister_and_read(count, ec);
  if (way == 3) elsewhere.context()->drain(ec);
  if (way == 4) elsewhere.read(ec);
  if (way == 5) elsewhere.write(1, ec);
  if (way == 6) elsewhere.poll_fd(ec);
  if (way == 7) elsewhere.forward_to(0, ec);
  if (way == 8) elsewhere.stop_forwarding(ec);
  REQUIRE(ec == std::errc::resource_deadlock_would_occur);
}

}  // namespace

SCENARIO(nested_signal_of_itself, 3, "a signal that a callback makes on its own eventfd is delivered after it, once") {
  const eventfd efd;
  int calls = 0;
  const notifier watcher{efd, [&](eventfd_ctx& own) {
                           if (++calls == 1) own.signal(5);
                         }};
  together({{"signaller", [mine = efd.context()] { mine->signal(); }},
            {"other signaller", [mine = efd.context()] { mine->signal(); }}});
  REQUIRE(calls == 3);
  REQUIRE(efd.context()->count() == 7);
}

SCENARIO(nested_signal_around_a_circle, 3,
         "two eventfds that signal each other from callbacks in two concurrent threads neither recurse nor block") {
  const eventfd one;
  const eventfd other;
  int calls_one = 0;
  int calls_other = 0;
  const notifier on_one{one, [&](auto&) {
                          if (++calls_one <= 1) other.signal();
                        }};
  const notifier on_other{other, [&](auto&) {
                            if (++calls_other <= 1) one.signal();
                          }};
  together({{"signaller of one", [&] { one.signal(); }}, {"signaller of the other", [&] { other.signal(); }}});
  REQUIRE(calls_one == 2 && calls_other == 2);
  REQUIRE(one.context()->count() == 2 && other.context()->count() == 2);
}

SCENARIO(nested_signal_of_one_that_goes, 3,
         "an eventfd that a callback signals stays in memory until the delivery, even if it is closed by then") {
  const eventfd efd;
  eventfd other;
  eventfd given = other;
  int calls = 0;
  int releases = 0;
  {
    notifier on_other{other, [&](auto&) { ++calls; }, [&] { ++releases; }};
    const notifier on_eventfd{efd, [&](auto&) {
                                const eventfd mine = std::move(given);
                                mine.signal();
                              }};
    together({{"signaller", [&] { efd.signal(); }}, {"closer", [&] { other.close(); }}});
    REQUIRE(calls <= 1 && releases == 1);
  }
}

SCENARIO(nested_signal_of_one_that_is_freed, 3,
         "an eventfd that a callback signals is freed after the delivery if there is no other reference") {
  const eventfd efd;
  eventfd other;
  other.poll_fd();  // adds a queue entry that holds no reference
  eventfd given = other;
  const notifier on_eventfd{efd, [&](auto&) {
                              const eventfd mine = std::move(given);
                              mine.signal();
                            }};
  together({{"signaller", [&] { efd.signal(); }}, {"closer", [&] { other.close(); }}});
}

SCENARIO(nested_last_close_and_drain, 3,
         "a callback that unregisters itself and closes the last handle may still drain: the memory exists") {
  eventfd efd;
  notifier* itself = nullptr;
  int calls = 0;
  notifier watcher{[&](eventfd_ctx& own) {
    ++calls;
    itself->unregister();
    efd.close();
    own.drain();
  }};
  itself = &watcher;
  watcher.register_with(efd);
  efd.signal();
  REQUIRE(calls == 1);
}

SCENARIO(nested_unregister, 3,
         "a callback may unregister its own notifier and others of its eventfd, while another thread does the same") {
  const eventfd efd;
  int calls = 0;
  notifier* first = nullptr;
  notifier second{efd, [&](auto&) { ++calls; }};
  notifier mine{[&](auto&) {
    ++calls;
    first->unregister();
    second.unregister();
  }};
  first = &mine;
  mine.register_with(efd);
  auto outcome = decoupled::not_registered;
  together({{"signaller", [&] { efd.signal(); }}, {"unregisterer", [&] { outcome = second.unregister(); }}});
  REQUIRE(outcome != decoupled::by_hup);
  REQUIRE(calls >= 1 && calls <= 2);
}

SCENARIO(nested_refused, 3,
         "a call in a callback that would acquire another eventfd's lock fails, so two of them do not deadlock") {
  const eventfd one;
  const eventfd other;
  const auto way = any_below(ways_to_be_refused);
  notifier* on_one = nullptr;
  notifier* on_other = nullptr;
  notifier first{one, [&](auto&) { try_one(way, other, *on_other); }};
  notifier second{other, [&](auto&) { try_one(way, one, *on_one); }};
  on_one = &first;
  on_other = &second;
  together({{"signaller of one", [&] { one.signal(); }}, {"signaller of the other", [&] { other.signal(); }}});
}

SCENARIO(nested_left_elsewhere, 3,
         "two callbacks that unregister themselves and register each other's notifier do not wait for each other") {
  const eventfd one;
  const eventfd other;
  notifier* on_one = nullptr;
  notifier* on_other = nullptr;
  const auto swap = [](notifier& mine, notifier& others, const eventfd& here) {
    std::error_code ec;
    mine.unregister();
    others.register_with(here, ec);
  };
  notifier first{one, [&](auto&) { swap(*on_one, *on_other, one); }};
  notifier second{other, [&](auto&) { swap(*on_other, *on_one, other); }};
  on_one = &first;
  on_other = &second;
  together({{"signaller of one", [&] { one.signal(); }}, {"signaller of the other", [&] { other.signal(); }}});
}

}  // namespace doorbell::model
