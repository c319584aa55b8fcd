// SPDX-License-Identifier: Apache-2.0
//
// RCU as doorbell uses it. Doorbell's side is explored; a model of liburcu's guarantees replaces liburcu.
#include <doorbell/base/rcu.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::rcu_pointer;
using base::rcu_read_guard;
using base::rcu_synchronize;

}  // namespace

SCENARIO(rcu_taken_away, 3, "a replaced object stays intact until the last section that has seen it has ended") {
  rcu_pointer<int> shared{new int{1}};
  const auto read = [&] {
    const rcu_read_guard reading;
    const int* const seen = shared.load(reading);
    if (seen != nullptr) REQUIRE(*seen == 1 || *seen == 2);
  };
  together({{"updater",
             [&] {
               const int* const old = shared.exchange(new int{2});
               rcu_synchronize();
               delete old;
             }},
            {"first reader", read},
            {"second reader", read}});
  delete shared.exchange(nullptr);
}
AND_WEAK(rcu_taken_away, 3, 3);

SCENARIO(rcu_published, 3, "a reader that finds an object sees it completely constructed") {
  rcu_pointer<int> shared;
  const auto read = [&] {
    const rcu_read_guard reading;
    const int* const seen = shared.load(reading);
    if (seen != nullptr) REQUIRE(*seen == 1);
  };
  together({{"updater", [&] { shared.store(new int{1}); }}, {"first reader", read}, {"second reader", read}});
  delete shared.exchange(nullptr);
}
AND_WEAK(rcu_published, 3, 3);

SCENARIO(rcu_two_updaters, 3,
         "two concurrent exchanges return different objects, each completely constructed, and each is freed once") {
  rcu_pointer<int> shared{new int{1}};
  const auto update = [&] {
    const int* const old = shared.exchange(new int{2});
    rcu_synchronize();
    delete old;
  };
  together({{"first updater", update}, {"second updater", update}});
  delete shared.exchange(nullptr);
}
AND_WEAK(rcu_two_updaters, 3, 3);

}  // namespace doorbell::model
