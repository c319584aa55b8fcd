// SPDX-License-Identifier: Apache-2.0
//
// What stands at a context's handle, before its events. Spelt here once more than in aio/ring.cpp: the tests hold ours against
// what programs expect, not against itself.
#pragma once

#include <doorbell/aio_calls.hpp>

namespace doorbell::test {

struct ring_header {
  unsigned id;
  unsigned nr;
  unsigned head;
  unsigned tail;
  unsigned magic;
  unsigned compat_features;
  unsigned incompat_features;
  unsigned header_length;
};

[[nodiscard]] inline ring_header& header_at(aio::aio_context_t handle) {
  return *reinterpret_cast<ring_header*>(handle);
}

}  // namespace doorbell::test
