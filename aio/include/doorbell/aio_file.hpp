// SPDX-License-Identifier: Apache-2.0
//
// file_facts: the facts about a request's descriptor that submit looks up, by two system calls, before it starts the
// request. A program that keeps a descriptor open for many requests can look them up once and pass them to each
// request: iocb::set_file.
//
// A value. The facts are valid as long as the descriptor refers to that file and its flags (fcntl(2), F_SETFL) do not
// change. With outdated facts, submit may accept a request that it would have refused, or refuse one that it would have
// accepted; the file's error is then in the event's res.
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

  /// The facts about the file to which `fd` refers now. May be called from any thread and in callbacks. May block like
  /// fstat(2).
  /// Errors: bad_file_descriptor, also for a descriptor that was opened with O_PATH.
  DOORBELL_EXPORT static file_facts look_up(int fd, std::error_code& ec) noexcept;
};

}  // namespace doorbell::aio
