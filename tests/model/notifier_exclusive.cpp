// SPDX-License-Identifier: Apache-2.0
//
// Exclusive notifiers: each signal calls one of them.
#include "scenario.hpp"

#include <memory>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

namespace doorbell::model {
namespace {

constexpr auto exclusive = notifier::sharing::exclusive;

struct shared_eventfd {
  shared_eventfd() {
    for (auto& each : watchers) {
      auto& calls = told[static_cast<std::size_t>(&each - watchers)];
      each = std::make_unique<notifier>([&calls](auto&) { ++calls; });
      each->register_with(efd, exclusive);
    }
  }
  [[nodiscard]] auto signaller() {
    return [mine = efd.context()] { mine->signal(); };
  }

  eventfd efd;
  int told[2] = {};
  std::unique_ptr<notifier> watchers[2];
};

}  // namespace

SCENARIO(exclusive_turns, 3, "two concurrent signals call one of two notifiers each, and not the same one") {
  shared_eventfd all;
  together({{"first signaller", all.signaller()}, {"second signaller", all.signaller()}});
  REQUIRE(all.told[0] == 1 && all.told[1] == 1);
}

SCENARIO(exclusive_cancelled, 3,
         "a notifier that is unregistered does not consume a signal meant for the next notifier") {
  shared_eventfd all;
  together({{"canceller", [&] { all.watchers[0].reset(); }},
            {"first signaller", all.signaller()},
            {"second signaller", all.signaller()}});
  REQUIRE(all.told[0] + all.told[1] == 2);
}

SCENARIO(exclusive_cancels_the_next, 3, "a notifier whose callback unregisters the next notifier consumes one signal") {
  shared_eventfd all;
  all.watchers[0].reset();
  int calls = 0;
  bool cancelled = false;
  notifier other{[&](auto&) {
    ++calls;
    if (!cancelled) all.watchers[1]->unregister();
    cancelled = true;
  }};
  other.register_with(all.efd, exclusive);
  together({{"first signaller", all.signaller()}, {"second signaller", all.signaller()}});
  REQUIRE(calls + all.told[1] == 2);
}

}  // namespace doorbell::model
