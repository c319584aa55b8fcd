// SPDX-License-Identifier: Apache-2.0
//
// The checks that io_submit(2) makes before it starts a request, in the kernel's order. If a request passes them and
// the file refuses the operation, the error is the event's result.
#pragma once

#include <system_error>

#include <doorbell/aio_file.hpp>

#include "../request/request.hpp"

namespace doorbell::aio {

/// The checks before a slot of the ring is taken. Errors: invalid_argument.
[[nodiscard]] std::error_code check_layout(const iocb_abi& asked) noexcept;

/// Looks up the properties of the iocb's file. Errors: bad_file_descriptor.
[[nodiscard]] std::error_code look_up_file(const iocb_abi& asked, file_facts& file) noexcept;

/// Checks the operation, and fetches its iovecs. Errors: invalid_argument; bad_file_descriptor (opened for the other
/// direction); bad_address; operation_not_supported (rw_flags); operation_not_permitted (priority); not_enough_memory.
/// @param as_the_kernel whether to refuse files that the kernel's AIO refuses although read(2) or write(2) works.
[[nodiscard]] std::error_code check_operation(request& made, const file_facts& file, bool as_the_kernel) noexcept;

}  // namespace doorbell::aio
