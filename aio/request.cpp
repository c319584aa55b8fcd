// SPDX-License-Identifier: Apache-2.0
#include "request.hpp"

namespace doorbell::aio {

request* request::make(request_pool& pool, const iocb_abi& asked, const iocb_abi* at) noexcept {
  void* const memory = pool.take();
  if (memory == nullptr) return new (std::nothrow) request{asked, at};
  auto* const made = new (memory) request{asked, at};
  made->pool = &pool;
  return made;
}

void request::free(request* ended) noexcept {
  auto* const pool = ended->pool;
  if (pool == nullptr) {
    delete ended;
    return;
  }
  ended->~request();
  pool->give_back(ended);
}

}  // namespace doorbell::aio
