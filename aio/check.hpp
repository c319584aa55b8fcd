// SPDX-License-Identifier: Apache-2.0
//
// What io_submit(2) checks of an iocb before it starts anything, in its order. What these let pass and the file refuses
// comes as the event's result.
#pragma once

#include <sys/stat.h>

#include <system_error>

#include "request.hpp"

namespace doorbell::aio {

struct file_facts {
  int access_mode = 0;          ///< O_RDONLY, O_WRONLY, O_RDWR
  mode_t type = 0;              ///< S_IFMT part of st_mode
  bool does_not_block = false;  ///< a pipe or socket with O_NONBLOCK
  bool is_direct = false;       ///< O_DIRECT
  bool is_synced = false;       ///< O_SYNC or O_DSYNC
};

/// What must hold before a slot is taken. Errors: invalid_argument.
[[nodiscard]] std::error_code check_layout(const iocb_abi& asked) noexcept;

/// Errors: bad_file_descriptor.
[[nodiscard]] std::error_code look_up_file(const iocb_abi& asked, file_facts& file) noexcept;

/// Checks the operation, and fetches its iovecs. Errors: invalid_argument; bad_file_descriptor (opened for the other
/// direction); bad_address; operation_not_supported (rw_flags); operation_not_permitted (priority); not_enough_memory.
[[nodiscard]] std::error_code check_operation(request& made, const file_facts& file) noexcept;

}  // namespace doorbell::aio
