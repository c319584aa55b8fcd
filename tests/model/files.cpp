// SPDX-License-Identifier: Apache-2.0
//
// Handles: exactly one close is the last, and it has acquired everything that the other threads did before their
// closes.
#include <cstdint>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "scenario.hpp"

namespace doorbell::model {

SCENARIO(files_copied_and_closed, 3, "the thread that closes the last of several concurrent copies hangs up, once") {
  eventfd handles[2];
  handles[1] = handles[0];
  int releases = 0;
  notifier watcher{handles[0], [](auto&) {}, [&] { ++releases; }};
  const auto copy_and_close = [&](int which) {
    return [&handle = handles[which]] {
      eventfd copy = handle;
      handle.close();
      copy.close();
    };
  };
  together({{"first", copy_and_close(0)}, {"second", copy_and_close(1)}});
  REQUIRE(releases == 1);
}

SCENARIO(files_last_close, 3, "release() sees everything that each closer did before its close") {
  int written[2] = {};
  int releases = 0;
  eventfd first;
  eventfd second = first;
  notifier watcher{first, [](auto&) {}, [&] { releases += written[0] + written[1]; }};
  together({{"first closer",
             [&] {
               written[0] = 1;
               first.close();
             }},
            {"second closer", [&] {
               written[1] = 1;
               second.close();
             }}});
  REQUIRE(releases == 2);
}

SCENARIO(files_ids, 3, "eventfds that are created concurrently have different ids") {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  together({{"first", [&] { first = eventfd{}.info().id; }}, {"second", [&] { second = eventfd{}.info().id; }}});
  REQUIRE(first != second);
}

}  // namespace doorbell::model
