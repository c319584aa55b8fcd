// SPDX-License-Identifier: Apache-2.0
//
// The header of a context's ring, which is at the context's handle, before the events. It is declared here as well as
// in aio/context/ring.cpp, so that the tests compare doorbell's header with the one that programs expect.
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
