// SPDX-License-Identifier: Apache-2.0
#include "request.hpp"

namespace doorbell::aio {

request* request::make(request_pool& pool, void* memory, const iocb_abi& asked, const iocb_abi* at) noexcept {
  if (memory == nullptr) return new (std::nothrow) request{asked, at};
  auto* const made = new (memory) request{asked, at};
  made->pool = &pool;
  return made;
}

void* request::end(request& ended) noexcept {
  const bool is_from_pool = ended.pool != nullptr;
  if (is_from_pool)
    ended.~request();
  else
    delete &ended;
  return is_from_pool ? &ended : nullptr;
}

void request::free(request* ended) noexcept {
  auto* const pool = ended->pool;
  if (void* const memory = end(*ended)) pool->give_back({&memory, 1});
}

}  // namespace doorbell::aio
