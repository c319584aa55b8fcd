// SPDX-License-Identifier: Apache-2.0
//
// Sequences of AIO calls by handle, on either engine.
#include "aio_play.hpp"
#include "target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Never destroyed: its threads run until the process ends.
  static auto& play = *new doorbell::fuzz::aio_play;  // NOLINT(bugprone-unhandled-exception-at-new)
  play.run(doorbell::fuzz::input{{data, size}});
  return 0;
}
