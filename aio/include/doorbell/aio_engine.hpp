// SPDX-License-Identifier: Apache-2.0
//
// engine_kind: what carries out the requests of an AIO context.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

namespace doorbell::aio {

enum class engine_kind {
  /// What `DOORBELL_ENGINE` says (`uring`, `io_uring` or `threads`), else io_uring, else, where the system refuses it
  /// (ENOSYS, EPERM, EACCES), threads. Decided when the first such context is made, once a process.
  automatic,
  io_uring,  ///< io_uring(7), or none
  threads,   ///< a few threads of the process, and the system calls that block
};

}  // namespace doorbell::aio
