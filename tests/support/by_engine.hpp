// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/aio_iocb.hpp>

namespace doorbell::test {

/// Makes an engine carry the request out, even if it reads cached pages and could complete inside submit: it gets the
/// default priority, and requests with a priority go to engines.
template <class Iocb>
[[nodiscard]] Iocb by_engine(Iocb request) noexcept {
  request.flags |= aio::iocb_abi::flag_ioprio;
  return request;
}

}  // namespace doorbell::test
