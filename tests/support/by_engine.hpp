// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/aio_iocb.hpp>

namespace doorbell::test {

/// Makes an engine execute the request, even if the request reads cached pages and could complete inline in submit: the
/// request gets the default priority, and submit leaves requests that have a priority to the engine.
template <class Iocb>
[[nodiscard]] Iocb by_engine(Iocb request) noexcept {
  request.flags |= aio::iocb_abi::flag_ioprio;
  return request;
}

}  // namespace doorbell::test
