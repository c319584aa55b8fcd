// SPDX-License-Identifier: Apache-2.0
//
// notifier: registration with one eventfd after another, while other threads use the notifier.
#include "scenario.hpp"

#include <memory>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

namespace doorbell::model {
namespace {

/// A notifier whose callback unregisters it and then continues.
struct self_removing {
  self_removing() { watcher.register_with(efd); }
  void signal() { efd.signal(); }

  const eventfd efd;
  base::atomic<bool> removed{false};  // relaxed: a stronger order would hide a missing order in notifier
  bool begun = false;                 // set by the callback
  int done = 0;                       // the last write of the callback
  std::unique_ptr<notifier> owner = std::make_unique<notifier>([this](auto&) {
    begun = true;
    watcher.unregister();
    removed.store(true, base::memory_order_relaxed);
    done = 1;
  });
  notifier& watcher = *owner;
};

/// Runs `next` concurrently with the callback, if the callback has already unregistered the notifier.
template <class Next>
void while_it_runs_on(Next next) {
  self_removing all;
  together({{"signaller", [&] { all.signal(); }}, {"other", [&] {
                                                     if (!all.removed.load(base::memory_order_relaxed)) return;
                                                     next(all);
                                                     REQUIRE(all.done == 1);
                                                   }}});
}

}  // namespace

SCENARIO(notifier_moved, 3,
         "a thread that registers the notifier after an unregister sees everything that the unregister did") {
  const eventfd here;
  const eventfd there;
  notifier watcher{here, [](auto&) {}};
  auto outcome = decoupled::not_registered;
  std::error_code ec;
  together({{"unregisterer", [&] { outcome = watcher.unregister(); }},
            {"registrar", [&] { watcher.register_with(there, ec); }}});
  REQUIRE(outcome == decoupled::by_us);
  REQUIRE(!ec || ec == std::errc::device_or_resource_busy);
}
AND_WEAK(notifier_moved, 3, 3);

SCENARIO(notifier_moved_after_a_refusal, 3,
         "a thread that registers the notifier after an unregister and a failed registration sees what both did") {
  const eventfd here;
  const eventfd there;
  eventfd closed;
  closed.close();
  notifier watcher{here, [](auto&) {}};
  std::error_code ec;
  together({{"unregisterer", [&] { watcher.unregister(); }},
            {"refused registrar",
             [&] {
               std::error_code refused;
               watcher.register_with(closed, refused);
               REQUIRE(refused == std::errc::bad_file_descriptor || refused == std::errc::device_or_resource_busy);
             }},
            {"registrar", [&] { watcher.register_with(there, ec); }}});
  REQUIRE(!ec || ec == std::errc::device_or_resource_busy);
}
AND_WEAK(notifier_moved_after_a_refusal, 3, 3);

SCENARIO(notifier_moved_before_a_callback, 3,
         "a callback may not unregister a notifier of another eventfd, not even while the notifier moves to a third") {
  const eventfd efd;
  const eventfd here;
  const eventfd there;
  notifier watcher{here, [](auto&) {}};
  auto outcome = decoupled::not_registered;
  std::error_code ec;
  const notifier meddler{efd, [&](auto&) { outcome = watcher.unregister(ec); }};
  together({{"signaller", [&] { efd.signal(); }}, {"mover", [&] {
                                                     watcher.unregister();
                                                     watcher.register_with(there);
                                                   }}});
  REQUIRE(outcome == decoupled::not_registered);
  REQUIRE(watcher.unregister() == decoupled::by_us);
}
AND_WEAK(notifier_moved_before_a_callback, 3, 3);

SCENARIO(notifier_left_and_destroyed, 3,
         "the destructor waits for a callback that has unregistered its notifier and continues") {
  while_it_runs_on([](self_removing& all) { all.owner = nullptr; });
}

SCENARIO(notifier_left_and_unregistered, 3,
         "an unregister waits for a callback that has unregistered its notifier, and returns not_registered") {
  while_it_runs_on([](self_removing& all) { REQUIRE(all.watcher.unregister() == decoupled::not_registered); });
}

SCENARIO(notifier_leaves_and_unregistered, 3,
         "an unregister concurrent with that of the callback waits for the callback, whichever of the two succeeds") {
  self_removing all;
  together({{"signaller", [&] { all.signal(); }}, {"other", [&] {
                                                     all.watcher.unregister();
                                                     REQUIRE(all.done == (all.begun ? 1 : 0));
                                                   }}});
}
AND_WEAK(notifier_leaves_and_unregistered, 3, 3);

SCENARIO(notifier_leaves_and_destroyed, 3,
         "a destructor concurrent with the callback's unregister waits for the callback") {
  self_removing all;
  together({{"signaller", [&] { all.signal(); }}, {"other", [&] {
                                                     all.owner = nullptr;
                                                     REQUIRE(all.done == (all.begun ? 1 : 0));
                                                   }}});
}
AND_WEAK(notifier_leaves_and_destroyed, 3, 3);

SCENARIO(notifier_left_and_moved, 3,
         "a registration elsewhere waits for a callback that has unregistered its notifier and continues") {
  const eventfd there;
  while_it_runs_on([&](self_removing& all) { all.watcher.register_with(there); });
}

SCENARIO(notifier_left_and_two_others, 3,
         "a registration after a callback's own unregister waits for the callback, also during another unregister") {
  const eventfd there;
  self_removing all;
  together({{"signaller", [&] { all.signal(); }},
            {"unregisterer", [&] { all.watcher.unregister(); }},
            {"registrar", [&] {
               if (!all.removed.load(base::memory_order_relaxed)) return;
               std::error_code ec;
               all.watcher.register_with(there, ec);
               if (!ec) REQUIRE(all.done == 1);
             }}});
}
AND_WEAK(notifier_left_and_two_others, 2, 2);

}  // namespace doorbell::model
