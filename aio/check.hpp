// SPDX-License-Identifier: Apache-2.0
//
// What io_submit(2) checks of an iocb before it starts anything, in its order. What these let pass and the file refuses
// comes as the event's result.
#pragma once

#include <system_error>

#include <doorbell/aio_file.hpp>

#include "request.hpp"

namespace doorbell::aio {

/// What must hold before a slot is taken. Errors: invalid_argument.
[[nodiscard]] std::error_code check_layout(const iocb_abi& asked) noexcept;

/// Errors: bad_file_descriptor.
[[nodiscard]] std::error_code look_up_file(const iocb_abi& asked, file_facts& file) noexcept;

/// Checks the operation, and fetches its iovecs. Errors: invalid_argument; bad_file_descriptor (opened for the other
/// direction); bad_address; operation_not_supported (rw_flags); operation_not_permitted (priority); not_enough_memory.
/// @param as_the_kernel whether to refuse files that the kernel's AIO refuses, although a thread can read or write them.
[[nodiscard]] std::error_code check_operation(request& made, const file_facts& file, bool as_the_kernel) noexcept;

}  // namespace doorbell::aio
