// SPDX-License-Identifier: Apache-2.0
//
// notifier: register, unregister, HUP and signal, three of them concurrently.
#include "scenario.hpp"
#include "watched_eventfd.hpp"

namespace doorbell::model {
namespace {

using at_first = watched_eventfd::at_first;

}  // namespace

SCENARIO(notifier_unregister_hup_signal, 3,
         "either unregister or HUP ends the registration, and release() runs only in the case of HUP") {
  watched_eventfd all;
  together(
      {{"unregisterer", [&] { all.unregister(); }}, {"closer", [&] { all.close(); }}, {"signaller", all.signaller()}});
  REQUIRE(all.releases() == (all.outcome() == decoupled::by_hup ? 1 : 0));
}
AND_WEAK(notifier_unregister_hup_signal, 2, 2);

SCENARIO(notifier_two_unregisters_and_hup, 3,
         "of two unregisters and a HUP, exactly one ends the registration; the last of the three frees the memory") {
  watched_eventfd all;
  auto first = decoupled::not_registered;
  auto second = decoupled::not_registered;
  together({{"first", [&] { first = all.try_unregister(); }},
            {"second", [&] { second = all.try_unregister(); }},
            {"closer", [&] { all.close(); }}});
  REQUIRE((first == decoupled::not_registered) != (second == decoupled::not_registered));
}

SCENARIO(notifier_unregister_and_two_signals, 3, "once unregister() has returned, no callback of either signal runs") {
  watched_eventfd all;
  together({{"unregisterer", [&] { all.unregister(); }},
            {"first signaller", all.signaller()},
            {"second signaller", all.signaller()}});
  REQUIRE(all.calls() <= 2);
  REQUIRE(all.efd().context()->count() == 2);
}

SCENARIO(notifier_hup_and_two_signals, 3, "release() runs once, after the last callback of either signal") {
  watched_eventfd all;
  together(
      {{"closer", [&] { all.close(); }}, {"first signaller", all.signaller()}, {"second signaller", all.signaller()}});
  REQUIRE(all.releases() == 1);
  all.unregister();
}

SCENARIO(notifier_register_hup_signal, 3,
         "the registrar gets the HUP; a signal is in its result or calls the callback, unless the HUP came first") {
  watched_eventfd all{at_first::not_registered};
  together({{"registrar", all.registrar()}, {"closer", [&] { all.close(); }}, {"signaller", all.signaller()}});
  REQUIRE(all.releases() == 1);
  REQUIRE((all.was_ready() ? 1 : 0) + all.calls() <= 1);
  all.unregister();
}

SCENARIO(notifier_register_unregister_signal, 3,
         "a signal is in the result, or calls the callback, or comes while nothing is registered; never two of these") {
  watched_eventfd all{at_first::not_registered};
  auto outcome = decoupled::not_registered;
  together({{"registrar", all.registrar()},
            {"unregisterer", [&] { outcome = all.try_unregister(); }},
            {"signaller", all.signaller()}});
  const int told = (all.was_ready() ? 1 : 0) + all.calls();
  REQUIRE(outcome == decoupled::by_us ? told <= 1 : told == 1);
}

SCENARIO(notifier_register_unregister_hup, 3,
         "the call that ends a registration reports it, and an unregister that loses returns after release()") {
  watched_eventfd all{at_first::not_registered};
  auto outcome = decoupled::not_registered;
  together({{"registrar", all.registrar()}, {"unregisterer", [&] { outcome = all.try_unregister(); }}, {"closer", [&] {
                                                                                                          all.close();
                                                                                                        }}});
  REQUIRE(all.releases() == (outcome == decoupled::by_us ? 0 : 1));
}

SCENARIO(notifier_unregister_reading_hup_signal, 3,
         "a signal that has called the callback is in the count read, and any other is still in the eventfd") {
  watched_eventfd all;
  std::uint64_t taken = 0;
  const auto context = all.efd().context();
  together({{"unregisterer", [&] { taken = all.unregister_and_read(); }},
            {"closer", [&] { all.close(); }},
            {"signaller", all.signaller()}});
  REQUIRE(taken + context->count() == 1);
  REQUIRE(static_cast<std::uint64_t>(all.calls()) <= taken);
}

}  // namespace doorbell::model
