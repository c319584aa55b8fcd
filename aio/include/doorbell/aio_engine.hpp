// SPDX-License-Identifier: Apache-2.0
//
// engine_kind: the mechanism that carries out the requests of an AIO context.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

namespace doorbell::aio {

enum class engine_kind {
  /// The engine that `DOORBELL_ENGINE` names (`uring`, `io_uring` or `threads`); the variable is read once per process.
  /// Without it, io_uring; but threads if the system refuses io_uring or has no memory or descriptor for a ring.
  automatic,
  io_uring,  ///< io_uring(7), or an error; threads only if the ring stops working later
  threads,   ///< a few threads of the process, which make blocking system calls
};

}  // namespace doorbell::aio
