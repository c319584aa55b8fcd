// SPDX-License-Identifier: Apache-2.0
#include "user_memory.hpp"

#include <sys/uio.h>
#include <unistd.h>

namespace doorbell::aio {

bool read_memory(const void* from, void* to, std::size_t bytes) noexcept {
  const iovec here{.iov_base = to, .iov_len = bytes};
  const iovec there{.iov_base = const_cast<void*>(from), .iov_len = bytes};
  return ::process_vm_readv(::getpid(), &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes);
}

}  // namespace doorbell::aio
