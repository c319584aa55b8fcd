// SPDX-License-Identifier: Apache-2.0
//
// What io_submit(2) checks of an iocb before it starts anything, in its order.
#pragma once

#include <system_error>

#include <doorbell/aio_iocb.hpp>

namespace doorbell::aio {

/// What must hold before a slot is taken. Errors: invalid_argument.
[[nodiscard]] std::error_code check_layout(const iocb_abi& asked) noexcept;

/// What must hold of the file. Errors: bad_file_descriptor.
[[nodiscard]] std::error_code check_file(const iocb_abi& asked) noexcept;

/// What must hold of the operation. Errors: invalid_argument, bad_file_descriptor (opened for the other direction).
[[nodiscard]] std::error_code check_operation(const iocb_abi& asked) noexcept;

}  // namespace doorbell::aio
