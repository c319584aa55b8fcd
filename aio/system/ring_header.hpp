// SPDX-License-Identifier: Apache-2.0
//
// ring_header: the memory at the start of a context's ring, before the events (struct aio_ring in the kernel's
// fs/aio.c). The kernel writes it for a context of its own AIO, and the library for a context of doorbell; libaio, fio
// and QEMU read it.
#pragma once

#include <doorbell/aio_iocb.hpp>

namespace doorbell::aio {

struct alignas(io_event) ring_header {
  unsigned id;
  unsigned nr;
  unsigned head;
  unsigned tail;
  unsigned magic;
  unsigned compatible_features;
  unsigned incompatible_features;
  unsigned header_length;
};
static_assert(sizeof(ring_header) == 32, "the kernel's layout");

inline constexpr unsigned ring_magic = 0xa10a10a1;

}  // namespace doorbell::aio
