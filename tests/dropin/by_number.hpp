// SPDX-License-Identifier: Apache-2.0
//
// The kernel's AIO by number, as in programs without libaio. Calls return -1 and set errno.
#pragma once

#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <ctime>

namespace doorbell::test::by_number {

inline int setup(unsigned nr, aio_context_t& made) {
  made = 0;
  return static_cast<int>(::syscall(SYS_io_setup, nr, &made));
}
inline int destroy(aio_context_t context) { return static_cast<int>(::syscall(SYS_io_destroy, context)); }
inline int submit(aio_context_t context, long nr, iocb** requests) {
  return static_cast<int>(::syscall(SYS_io_submit, context, nr, requests));
}
inline int submit(aio_context_t context, iocb& request) {
  iocb* one = &request;
  return submit(context, 1, &one);
}
inline int cancel(aio_context_t context, iocb& request) {
  io_event ignored{};
  return static_cast<int>(::syscall(SYS_io_cancel, context, &request, &ignored));
}
inline int get_events(aio_context_t context, long min, long nr, io_event* events, timespec* timeout) {
  return static_cast<int>(::syscall(SYS_io_getevents, context, min, nr, events, timeout));
}

/// The last argument of io_pgetevents(2).
struct signal_mask {
  const sigset_t* mask;
  std::size_t bytes;
};
inline int get_events(aio_context_t context, long min, long nr, io_event* events, timespec* timeout,
                      const signal_mask& blocked) {
  return static_cast<int>(::syscall(SYS_io_pgetevents, context, min, nr, events, timeout, &blocked));
}

inline iocb read_of(int file, void* into, std::size_t bytes, std::int64_t offset) {
  iocb request{};
  request.aio_data = reinterpret_cast<std::uint64_t>(into);
  request.aio_lio_opcode = IOCB_CMD_PREAD;
  request.aio_fildes = static_cast<std::uint32_t>(file);
  request.aio_buf = reinterpret_cast<std::uint64_t>(into);
  request.aio_nbytes = bytes;
  request.aio_offset = offset;
  return request;
}

}  // namespace doorbell::test::by_number
