// SPDX-License-Identifier: Apache-2.0
//
// The kernel's AIO, with which a program can make the kernel call eventfd_signal(): a request with IOCB_FLAG_RESFD
// signals 1 when it completes.
#pragma once

#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::test {

class kernel_aio {
 public:
  kernel_aio() { works_ = ::syscall(SYS_io_setup, 16, &context_) == 0; }
  ~kernel_aio() {
    if (works_) ::syscall(SYS_io_destroy, context_);
  }
  kernel_aio(const kernel_aio&) = delete;
  kernel_aio& operator=(const kernel_aio&) = delete;

  /// @return false if a sandbox forbids the kernel's AIO.
  [[nodiscard]] bool works() const { return works_; }

  /// Signals `eventfd` by a read of an empty file, which completes immediately.
  [[nodiscard]] bool signal(int eventfd) {
    iocb request{};
    request.aio_lio_opcode = IOCB_CMD_PREAD;
    request.aio_fildes = static_cast<std::uint32_t>(empty_.get());
    request.aio_buf = reinterpret_cast<std::uint64_t>(nothing_.data());
    request.aio_nbytes = nothing_.size();
    return submit(request, eventfd) && reap();
  }

  /// Makes the kernel signal `eventfd` from inside the wake walk of `polled`, when `polled` becomes readable.
  [[nodiscard]] bool signal_when_readable(int polled, int eventfd) {
    iocb request{};
    request.aio_lio_opcode = IOCB_CMD_POLL;
    request.aio_fildes = static_cast<std::uint32_t>(polled);
    request.aio_buf = POLLIN;
    return submit(request, eventfd);
  }

 private:
  bool submit(iocb& request, int eventfd) {
    request.aio_flags = IOCB_FLAG_RESFD;
    request.aio_resfd = static_cast<std::uint32_t>(eventfd);
    std::array<iocb*, 1> requests{&request};
    return ::syscall(SYS_io_submit, context_, 1, requests.data()) == 1;
  }

  bool reap() {
    io_event event{};
    return ::syscall(SYS_io_getevents, context_, 1, 1, &event, nullptr) == 1;
  }

  aio_context_t context_ = 0;
  bool works_ = false;
  base::unique_fd empty_{::memfd_create("empty", MFD_CLOEXEC)};
  std::array<char, 8> nothing_{};
};

}  // namespace doorbell::test
