// SPDX-License-Identifier: Apache-2.0
//
// notifier: several threads unregister it concurrently, some of them in callbacks. not_registered promises its caller
// the same as by_us: no callback is running, and none will run.
#include "scenario.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

namespace doorbell::model {
namespace {

/// Written by the callback. Each of two threads writes its part as soon as its unregister has returned.
struct used_by_callback {
  void use() {
    for (auto& part : parts) ++part;
  }
  auto unregister(notifier& watcher, std::size_t part) {
    return [&, part] {
      watcher.unregister();
      parts[part] = 0;
    };
  }

  std::array<int, 2> parts{};
};

/// One of two unregisters has returned by_us, and the other not_registered.
void require_one(decoupled one, decoupled other) {
  REQUIRE((one == decoupled::by_us) != (other == decoupled::by_us));
  REQUIRE(one == decoupled::not_registered || other == decoupled::not_registered);
}

}  // namespace

SCENARIO(notifier_twice_and_signal, 3, "each of two unregisters returns when no callback runs any more") {
  const eventfd efd;
  used_by_callback used;
  notifier watcher{efd, [&](auto&) { used.use(); }};
  together({{"signaller", [&] { efd.signal(); }},
            {"first", used.unregister(watcher, 0)},
            {"second", used.unregister(watcher, 1)}});
}
AND_WEAK(notifier_twice_and_signal, 2, 2);

SCENARIO(notifier_twice_and_left, 3,
         "each of two unregisters waits for a callback that has unregistered its notifier and continues") {
  const eventfd efd;
  used_by_callback used;
  notifier* itself = nullptr;
  notifier watcher{[&](auto&) {
    itself->unregister();
    used.use();
  }};
  itself = &watcher;
  watcher.register_with(efd);
  together({{"signaller", [&] { efd.signal(); }},
            {"first", used.unregister(watcher, 0)},
            {"second", used.unregister(watcher, 1)}});
}

SCENARIO(notifier_twice_and_registered_again, 3,
         "a callback that registers its notifier again during two unregisters succeeds, or gets busy") {
  const eventfd efd;
  notifier* itself = nullptr;
  std::error_code ec;
  notifier watcher{[&](auto&) {
    itself->unregister();
    itself->register_with(efd, ec);
  }};
  itself = &watcher;
  watcher.register_with(efd);
  together({{"signaller", [&] { efd.signal(); }}, {"first", [&] { watcher.unregister(); }}, {"second", [&] {
                                                                                               watcher.unregister();
                                                                                             }}});
  REQUIRE(!ec || ec == std::errc::device_or_resource_busy);
}

SCENARIO(notifier_twice_and_elsewhere, 3,
         "an unregister in a callback of another eventfd fails, or returns not_registered; it does not wait") {
  const eventfd efd;
  const eventfd elsewhere;
  used_by_callback used;
  notifier watcher{efd, [&](auto&) { used.use(); }};
  const notifier meddler{elsewhere, [&](auto&) {
                           std::error_code ec;
                           watcher.unregister(ec);
                           if (!ec) used.parts[0] = 0;
                         }};
  together({{"signaller", [&] { efd.signal(); }},
            {"signaller elsewhere", [&] { elsewhere.signal(); }},
            {"unregisterer", used.unregister(watcher, 1)}});
}
AND_WEAK(notifier_twice_and_elsewhere, 2, 2);

SCENARIO(notifier_taken_over_by_itself, 3,
         "a callback that unregisters its notifier is the last one, also while another thread unregisters") {
  const eventfd efd;
  int calls = 0;
  auto inside = decoupled::not_registered;
  auto outside = decoupled::not_registered;
  notifier* itself = nullptr;
  notifier watcher{[&](eventfd_ctx& own) {
    ++calls;
    inside = itself->unregister();
    own.signal();
  }};
  itself = &watcher;
  watcher.register_with(efd);
  together({{"signaller", [&] { efd.signal(); }}, {"unregisterer", [&] { outside = watcher.unregister(); }}});
  REQUIRE(calls <= 1);
  require_one(inside, outside);
}
AND_WEAK(notifier_taken_over_by_itself, 3, 3);

SCENARIO(notifier_taken_over_by_another, 3,
         "a notifier is not called after another callback has unregistered it, and a late unregister_and_read() does "
         "not drain") {
  const eventfd efd;
  bool gone = false;
  auto inside = decoupled::not_registered;
  notifier* second = nullptr;
  const notifier first{efd, [&](auto&) {
                         inside = second->unregister();
                         gone = true;
                       }};
  notifier watcher{efd, [&](auto&) { REQUIRE(!gone); }};
  second = &watcher;
  auto outside = decoupled::not_registered;
  std::uint64_t taken = 0;
  std::error_code ec;
  together({{"signaller", [&] { efd.signal(); }},
            {"unregisterer", [&] { outside = watcher.unregister_and_read(taken, ec); }}});
  require_one(inside, outside);
  REQUIRE(taken + efd.context()->count() == 1);
  REQUIRE(outside == decoupled::by_us || (taken == 0 && !ec));
}
AND_WEAK(notifier_taken_over_by_another, 3, 3);

SCENARIO(notifier_taken_over_and_hup, 3,
         "one of two unregisters or the HUP ends the registration, and an unregister that returns by_hup does so after "
         "release()") {
  eventfd efd;
  int releases = 0;
  auto inside = decoupled::not_registered;
  auto outside = decoupled::not_registered;
  notifier* second = nullptr;
  const notifier first{efd, [&](auto&) { inside = second->unregister(); }};
  notifier watcher{efd, [](auto&) {}, [&] { ++releases; }};
  second = &watcher;
  together({{"signaller", [mine = efd.context()] { mine->signal(); }},
            {"unregisterer",
             [&] {
               outside = watcher.unregister();
               if (outside != decoupled::not_registered) REQUIRE(releases == (outside == decoupled::by_hup ? 1 : 0));
             }},
            {"closer", [&] { efd.close(); }}});
  REQUIRE((inside == decoupled::by_us ? 1 : 0) + (outside == decoupled::by_us ? 1 : 0) + releases == 1);
}

}  // namespace doorbell::model
