// SPDX-License-Identifier: Apache-2.0
//
// percpu_ref: kill and release of a count that is spread over the CPUs.
#include <doorbell/base/percpu_ref.hpp>

#include <doorbell/base/kref.hpp>
#include <doorbell/base/rcu.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::kref;
using base::percpu_ref;
using base::rcu_pointer;
using base::rcu_read_guard;
using base::rcu_synchronize;

/// Counts its releases. Holders write plain variables, so each of these writes must happen before the release.
struct used : percpu_ref {
  used() : percpu_ref{&used::on_release} {}
  static void on_release(percpu_ref& ref) noexcept {
    auto& self = static_cast<used&>(ref);
    ++self.releases;
    for (auto& each : self.written) each = 0;
  }
  void use(int which) {
    REQUIRE(releases == 0);
    written[which] = 1;
  }

  int releases = 0;
  int written[3] = {};
};

/// Freed when its last user has dropped the reference and no RCU section can see it any more.
struct looked_up : percpu_ref {
  looked_up() : percpu_ref{[](percpu_ref& ref) noexcept { static_cast<looked_up&>(ref).end(); }} {}
  void end() noexcept {
    if (ends.put()) delete this;
  }

  kref ends{2};
  base::atomic<int> uses{0};
};

void look_up(used& object, int which) {
  if (!object.tryget_live()) return;
  object.use(which);
  object.put();
}

}  // namespace

SCENARIO(percpu_ref_kill_against_tryget, 3, "release runs once, after the last put, and no tryget succeeds after it") {
  used object;
  together({{"owner", [&] { REQUIRE(object.kill()); }},
            {"first user", [&] { look_up(object, 0); }},
            {"second user", [&] { look_up(object, 1); }}});
  REQUIRE(object.releases == 1);
  REQUIRE(!object.tryget_live() && !object.tryget());
}
AND_WEAK(percpu_ref_kill_against_tryget, 3, 3);

SCENARIO(percpu_ref_put_on_another_cpu, 3,
         "a reference taken on one CPU and dropped on another counts once while the count is switched") {
  used object;
  together({{"owner", [&] { REQUIRE(object.kill()); }},
            {"traveller",
             [&] {
               run_on_cpu(1);
               if (!object.tryget_live()) return;
               run_on_cpu(0);
               object.use(0);
               object.put();
             }},
            {"other traveller", [&] {
               run_on_cpu(0);
               if (!object.tryget_live()) return;
               run_on_cpu(1);
               object.use(1);
               object.put();
             }}});
  REQUIRE(object.releases == 1);
}
AND_WEAK(percpu_ref_put_on_another_cpu, 3, 3);

SCENARIO(percpu_ref_holders, 3,
         "while a percpu_ref is dying, holders of a reference may get more, and release waits for all of them") {
  used object;
  object.get();
  together({{"owner", [&] { REQUIRE(object.kill()); }}, {"holder", [&] {
                                                           object.get();
                                                           object.use(0);
                                                           object.put();
                                                           run_on_cpu(1);
                                                           object.use(1);
                                                           object.put();
                                                         }}});
  REQUIRE(object.releases == 1);
}
AND_WEAK(percpu_ref_holders, 3, 3);

SCENARIO(percpu_ref_try_while_it_dies, 3,
         "a tryget on a dying percpu_ref gets a reference, for which release waits, or fails") {
  used object;
  const auto try_it = [&](int which) {
    return [&object, which] {
      if (!object.tryget()) return;
      object.use(which);
      object.put();
    };
  };
  together({{"owner", [&] { REQUIRE(object.kill()); }}, {"first user", try_it(0)}, {"second user", try_it(1)}});
  REQUIRE(object.releases == 1);
}
AND_WEAK(percpu_ref_try_while_it_dies, 3, 3);

SCENARIO(percpu_ref_two_kills, 3, "one of two kills succeeds, and release runs once") {
  used object;
  int killers = 0;
  bool first = false;
  bool second = false;
  together({{"first killer", [&] { first = object.kill(); }},
            {"second killer", [&] { second = object.kill(); }},
            {"user", [&] { look_up(object, 0); }}});
  killers = (first ? 1 : 0) + (second ? 1 : 0);
  REQUIRE(killers == 1);
  REQUIRE(object.releases == 1);
}
AND_WEAK(percpu_ref_two_kills, 3, 3);

SCENARIO(percpu_ref_dying_is_final, 3, "after a thread has seen is_dying(), its tryget_live fails") {
  used object;
  together({{"owner", [&] { REQUIRE(object.kill()); }}, {"user", [&] {
                                                           const bool dying = object.is_dying();
                                                           const bool inside = object.tryget_live();
                                                           REQUIRE(!(dying && inside));
                                                           if (!inside) return;
                                                           object.use(0);
                                                           object.put();
                                                         }}});
  REQUIRE(object.releases == 1);
}
AND_WEAK(percpu_ref_dying_is_final, 3, 3);

SCENARIO(percpu_ref_lookup, 3,
         "a lookup under RCU keeps the object alive until its put, or fails while the memory still exists") {
  rcu_pointer<looked_up> table{new looked_up};
  const auto look_it_up = [&] {
    looked_up* found = nullptr;
    {
      const rcu_read_guard reading;
      found = table.load(reading);
      if (found != nullptr && !found->tryget_live()) found = nullptr;
    }
    if (found == nullptr) return;
    found->uses.fetch_add(1, base::memory_order_relaxed);
    found->put();
  };
  together({{"owner",
             [&] {
               auto* const mine = table.exchange(nullptr);
               REQUIRE(mine->kill());
               rcu_synchronize();
               mine->end();
             }},
            {"first lookup", look_it_up},
            {"second lookup", look_it_up}});
}
AND_WEAK(percpu_ref_lookup, 3, 3);

}  // namespace doorbell::model
