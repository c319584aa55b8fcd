// SPDX-License-Identifier: Apache-2.0
//
// An eventfd in a child of fork(2), for each position of the parent's other threads.
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include <cstdint>
#include <system_error>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

/// More steps than a read that sleeps and a signal that wakes it need.
constexpr unsigned steps_of_a_call = 24;

/// The child's calls: none of them depends on a thread of the parent.
void use_in_child(const eventfd& efd, std::uint64_t most_inherited) {
  const auto inherited = efd.context()->count();
  REQUIRE(inherited <= most_inherited);
  efd.signal(5);
  REQUIRE(efd.context()->count() == inherited + 5);
  REQUIRE(efd.read() == inherited + 5);
  std::uint64_t got = 0;
  together({{"reader of the child", [&] { got = efd.read(); }}, {"signaller of the child", [&] { efd.signal(3); }}});
  REQUIRE(got == 3);
}

}  // namespace

SCENARIO(eventfd_fork_and_reader, 1,
         "a child's counts are its own, wherever a reader and a signaller of the parent were") {
  const eventfd efd;
  together_until_fork({{"reader", [&] { efd.read(); }}, {"signaller", [mine = efd.context()] { mine->signal(1); }}},
                      steps_of_a_call);
  use_in_child(efd, 1);
}

SCENARIO(eventfd_fork_and_readers, 1, "a child's counts are its own, wherever two readers of the parent were") {
  const eventfd efd;
  together_until_fork({{"first reader", [&] { efd.read(); }}, {"second reader", [&] { efd.read(); }}}, steps_of_a_call);
  use_in_child(efd, 0);
}

SCENARIO(eventfd_fork_and_notifier, 1,
         "a child's notifier is called for the child's signals, wherever the parent's threads were") {
  const eventfd efd;
  int signals = 0;
  notifier watch{efd, [&](eventfd_ctx&) { ++signals; }};
  together_until_fork({{"reader", [&] { efd.read(); }}, {"signaller", [mine = efd.context()] { mine->signal(1); }}},
                      steps_of_a_call);
  const int before = signals;
  efd.signal(5);
  REQUIRE(signals == before + 1);
  REQUIRE(watch.unregister() == decoupled::by_us);
  use_in_child(efd, 6);
}

}  // namespace doorbell::model
