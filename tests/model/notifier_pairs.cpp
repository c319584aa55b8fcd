// SPDX-License-Identifier: Apache-2.0
//
// notifier: register, unregister, HUP and signal, two of them concurrently.
#include "scenario.hpp"
#include "watched_eventfd.hpp"

namespace doorbell::model {
namespace {

using at_first = watched_eventfd::at_first;

}  // namespace

SCENARIO(notifier_unregister_and_hup, 3,
         "one of the two ends the registration and reports it, and an unregister that loses returns after release()") {
  watched_eventfd all;
  together({{"unregisterer", [&] { all.unregister(); }}, {"closer", [&] { all.close(); }}});
  REQUIRE(all.releases() == (all.outcome() == decoupled::by_hup ? 1 : 0));
}
AND_WEAK(notifier_unregister_and_hup, 3, 3);

SCENARIO(notifier_unregister_and_signal, 3, "once unregister() has returned, no callback runs") {
  watched_eventfd all;
  together({{"unregisterer", [&] { all.unregister(); }}, {"signaller", all.signaller()}});
  REQUIRE(all.outcome() == decoupled::by_us);
  REQUIRE(all.calls() <= 1);
}
AND_WEAK(notifier_unregister_and_signal, 3, 3);

SCENARIO(notifier_unregister_reading_and_signal, 3,
         "a signal has called the callback and is in the count read, or has done neither: then it is in the eventfd") {
  watched_eventfd all;
  std::uint64_t taken = 0;
  together({{"unregisterer", [&] { taken = all.unregister_and_read(); }}, {"signaller", all.signaller()}});
  REQUIRE(static_cast<std::uint64_t>(all.calls()) == taken);
  REQUIRE(taken + all.efd().context()->count() == 1);
}
AND_WEAK(notifier_unregister_reading_and_signal, 3, 3);

SCENARIO(notifier_unregister_reading_and_hup, 3, "an unregister that drains may be the last to access the memory") {
  watched_eventfd all;
  all.efd().signal();
  std::uint64_t taken = 0;
  together({{"unregisterer", [&] { taken = all.unregister_and_read(); }}, {"closer", [&] { all.close(); }}});
  REQUIRE(taken == 1);
}
AND_WEAK(notifier_unregister_reading_and_hup, 3, 3);

SCENARIO(notifier_unregister_reading_and_write, 3,
         "a write that waits for room gets it from an unregister that drains") {
  watched_eventfd all;
  all.efd().write(eventfd::max);
  std::uint64_t taken = 0;
  together({{"unregisterer", [&] { taken = all.unregister_and_read(); }}, {"writer", [&] { all.efd().write(1); }}});
  REQUIRE(taken == eventfd::max);
  REQUIRE(all.efd().context()->count() == 1);
}

SCENARIO(notifier_unregister_twice, 3,
         "one of two unregisters ends the registration, and the other returns not_registered") {
  watched_eventfd all;
  auto first = decoupled::not_registered;
  auto second = decoupled::not_registered;
  together({{"first", [&] { first = all.try_unregister(); }}, {"second", [&] { second = all.try_unregister(); }}});
  REQUIRE((first == decoupled::by_us) != (second == decoupled::by_us));
}

SCENARIO(notifier_hup_and_signal, 3, "release() runs once, after the last callback") {
  watched_eventfd all;
  together({{"closer", [&] { all.close(); }}, {"signaller", all.signaller()}});
  REQUIRE(all.releases() == 1 && all.calls() <= 1);
  all.unregister();
}
AND_WEAK(notifier_hup_and_signal, 3, 3);

SCENARIO(notifier_register_and_signal, 3,
         "a signal during register_with() is in its result or calls the callback, never both") {
  watched_eventfd all{at_first::not_registered};
  together({{"registrar", all.registrar()}, {"signaller", all.signaller()}});
  REQUIRE((all.was_ready() ? 1 : 0) + all.calls() == 1);
}
AND_WEAK(notifier_register_and_signal, 3, 3);

SCENARIO(notifier_register_and_write, 3,
         "a write during register_with() is in its result or calls the callback, never both") {
  watched_eventfd all{at_first::not_registered};
  notifier other{[](auto&) {}};
  other.register_with(all.efd());
  together({{"writer", [&] { all.efd().write(1); }}, {"registrar", all.registrar()}});
  REQUIRE(all.calls() + (all.was_ready() ? 1 : 0) == 1);
}

SCENARIO(notifier_unregister_reading_and_a_write, 3,
         "a write has called the callback and is in the count read, or has done neither: then it is in the eventfd") {
  watched_eventfd all;
  notifier other{[](auto&) {}};
  other.register_with(all.efd());
  std::uint64_t taken = 0;
  together({{"unregisterer", [&] { taken = all.unregister_and_read(); }}, {"writer", [&] { all.efd().write(1); }}});
  REQUIRE(static_cast<std::uint64_t>(all.calls()) == taken);
  REQUIRE(taken + all.efd().context()->count() == 1);
}

SCENARIO(notifier_register_and_hup, 3, "a thread that registers while the last handle is closed gets the HUP") {
  watched_eventfd all{at_first::not_registered};
  together({{"registrar", all.registrar()}, {"closer", [&] { all.close(); }}});
  REQUIRE(all.releases() == 1);
  all.unregister();
}
AND_WEAK(notifier_register_and_hup, 3, 3);

SCENARIO(notifier_register_and_unregister, 3,
         "an unregister during a registration ends it, or returns not_registered") {
  watched_eventfd all{at_first::not_registered};
  auto outcome = decoupled::not_registered;
  together({{"registrar", all.registrar()}, {"unregisterer", [&] { outcome = all.try_unregister(); }}});
  REQUIRE(outcome != decoupled::by_hup);
  REQUIRE((outcome == decoupled::by_us) != (all.watcher().unregister() == decoupled::by_us));
}
AND_WEAK(notifier_register_and_unregister, 3, 3);

SCENARIO(notifier_register_twice, 3, "of two concurrent registrations one succeeds, and the other returns busy") {
  const eventfd efd;
  notifier watcher{[](auto&) {}};
  std::error_code first;
  std::error_code second;
  together(
      {{"first", [&] { watcher.register_with(efd, first); }}, {"second", [&] { watcher.register_with(efd, second); }}});
  REQUIRE(static_cast<bool>(first) != static_cast<bool>(second));
  REQUIRE((first ? first : second) == std::errc::device_or_resource_busy);
  REQUIRE(watcher.unregister() == decoupled::by_us);
}
AND_WEAK(notifier_register_twice, 3, 3);

SCENARIO(notifier_signal_and_signal, 3, "each signal calls the callback once, and is counted once") {
  watched_eventfd all;
  together({{"first signaller", all.signaller()}, {"second signaller", all.signaller()}});
  REQUIRE(all.calls() == 2);
  REQUIRE(all.efd().context()->count() == 2);
}

SCENARIO(notifier_destroyed_and_signal, 3, "once the destructor has returned, no callback runs") {
  eventfd efd;
  int calls = 0;
  auto watcher = std::make_unique<notifier>(efd, [&](auto&) { ++calls; });
  together({{"destroyer", [&] { watcher.reset(); }}, {"signaller", [mine = efd.context()] { mine->signal(); }}});
  REQUIRE(calls <= 1);
}

}  // namespace doorbell::model
