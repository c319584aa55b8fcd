// SPDX-License-Identifier: Apache-2.0
//
// read_file FILE: reads the first 4096 bytes through an AIO context, and prints the number of bytes read. The second
// program in docs/programs.md, unchanged.
// clang-format off
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>
#include <array>
#include <cstdio>
#include <fcntl.h>

int main(int, char** argv) {
  int fd = ::open(argv[1], O_RDONLY | O_CLOEXEC);
  std::array<std::byte, 4096> text{};
  doorbell::eventfd done;
  doorbell::aio::context ctx{64};                              // io_setup(64): io_uring, else threads
  doorbell::aio::iocb read = doorbell::aio::prep_pread(fd, text, 0);
  read.set_eventfd(done);                                      // IOCB_FLAG_RESFD, with a doorbell eventfd
  read.data = argv[1];
  ctx.submit({&read});
  done.read();                                                 // 1: one completion
  std::array<doorbell::aio::io_event, 8> events;
  for (const auto& event : ctx.get_events(1, events))
    std::printf("%s: %lld bytes\n", static_cast<char*>(event.data), static_cast<long long>(event.res));
  ctx.destroy();                                               // io_destroy: nothing touches text any more
}
