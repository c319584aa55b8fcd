// SPDX-License-Identifier: Apache-2.0
//
// kref: exactly one put frees the object, and it has acquired everything that the other threads did before their puts.
#include <doorbell/base/kref.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::kref;

struct counted {
  kref references;
  int written[3] = {};

  void put() {
    if (references.put()) {
      REQUIRE(written[0] + written[1] + written[2] > 0);
      delete this;
    }
  }
};

}  // namespace

SCENARIO(kref_last_put, 3, "exactly one of three puts frees the object, and it sees what all other threads wrote") {
  auto* const shared = new counted{kref{3}};
  const auto holder = [shared](int index) {
    return [shared, index] {
      shared->written[index] = 1;
      shared->put();
    };
  };
  together({{"first", holder(0)}, {"second", holder(1)}, {"third", holder(2)}});
}
AND_WEAK(kref_last_put, 3, 3);

SCENARIO(kref_get_and_put, 3,
         "while one reference is held, other threads may get and put more, and only the last put frees the object") {
  auto* const shared = new counted{kref{2}};
  const auto holder = [shared](int index) {
    return [shared, index] {
      shared->references.get();
      shared->put();
      shared->written[index] = 1;
      shared->put();
    };
  };
  together({{"first", holder(0)}, {"second", holder(1)}});
}
AND_WEAK(kref_get_and_put, 3, 3);

SCENARIO(kref_get_unless_zero, 3,
         "a successful get_unless_zero() keeps the object alive, and none succeeds after the last put") {
  kref references;
  int last = 0;
  const auto put = [&] {
    if (references.put()) ++last;
  };
  const auto find = [&] {
    if (!references.get_unless_zero()) return;
    REQUIRE(last == 0);
    put();
  };
  together({{"owner", put}, {"first finder", find}, {"second finder", find}});
  REQUIRE(last == 1);
  REQUIRE(!references.get_unless_zero());
}
AND_WEAK(kref_get_unless_zero, 3, 3);

}  // namespace doorbell::model
