// SPDX-License-Identifier: Apache-2.0
//
// Calls of two or three threads on eventfds and notifiers.
#include "eventfd_play.hpp"
#include "target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Never destroyed: its threads run until the process ends.
  static auto& play = *new doorbell::fuzz::eventfd_play;  // NOLINT(bugprone-unhandled-exception-at-new)
  play.run(doorbell::fuzz::input{{data, size}});
  return 0;
}
