// SPDX-License-Identifier: Apache-2.0
//
// Eventfds and notifiers under two or three threads.
#include "eventfd_play.hpp"
#include "target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // For as long as the process: its threads are.
  static auto& play = *new doorbell::fuzz::eventfd_play;  // NOLINT(bugprone-unhandled-exception-at-new)
  play.run(doorbell::fuzz::input{{data, size}});
  return 0;
}
