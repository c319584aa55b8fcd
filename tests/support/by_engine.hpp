// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/aio_iocb.hpp>

namespace doorbell::test {

/// The request, so that an engine carries it out, though what it reads is in memory and it could be answered at once: it has
/// a priority, if none in particular, and that is for engines.
template <class Iocb>
[[nodiscard]] Iocb by_engine(Iocb request) noexcept {
  request.flags |= aio::iocb_abi::flag_ioprio;
  return request;
}

}  // namespace doorbell::test
