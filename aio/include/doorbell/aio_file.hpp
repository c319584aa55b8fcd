// SPDX-License-Identifier: Apache-2.0
//
// file_facts: what submit looks up of a request's descriptor, by two system calls, before it starts the request. Who keeps
// a descriptor open for many requests looks them up once, and hands them along: iocb::set_file.
//
// A value. They hold as long as the descriptor names that file and its flags (fcntl(2), F_SETFL) stay as they are. Out of
// date, they let pass what submit would have refused, or the other way round: the file says so then, in the event's res.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <sys/stat.h>

#include <system_error>

#include <doorbell/base/export.hpp>

namespace doorbell::aio {

struct file_facts {
  int access_mode = 0;          ///< O_RDONLY, O_WRONLY, O_RDWR
  mode_t type = 0;              ///< S_IFMT part of st_mode
  bool does_not_block = false;  ///< a pipe or socket with O_NONBLOCK
  bool is_direct = false;       ///< O_DIRECT
  bool is_synced = false;       ///< O_SYNC or O_DSYNC
  dev_t device = 0;             ///< st_dev
  ino_t inode = 0;              ///< st_ino

  /// Of what `fd` names now. From any thread, in callbacks too; does not block but as fstat(2) does.
  /// Errors: bad_file_descriptor, also for one that was opened with O_PATH.
  DOORBELL_EXPORT static file_facts look_up(int fd, std::error_code& ec) noexcept;
};

}  // namespace doorbell::aio
