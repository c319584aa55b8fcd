// SPDX-License-Identifier: Apache-2.0
//
// core FILE: reads FILE through an AIO context whose completion signals an eventfd. Prints how often a notifier on the
// eventfd was called, and how many bytes were read.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int fd = ::open(argv[1], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 2;
  std::array<std::byte, 4096> text{};
  std::atomic<int> signals = 0;
  doorbell::eventfd done;
  doorbell::notifier watch{done, [&](doorbell::eventfd_ctx&) { ++signals; }};
  doorbell::aio::context context{8};
  doorbell::aio::iocb read = doorbell::aio::prep_pread(fd, text, 0);
  read.set_eventfd(done);
  context.submit({&read});
  done.read();
  watch.unregister();
  std::array<doorbell::aio::io_event, 1> events;
  for (const auto& event : context.get_events(1, events))
    std::printf("%d signal, %lld bytes\n", signals.load(), static_cast<long long>(event.res));
  context.destroy();
  return ::close(fd);
}
