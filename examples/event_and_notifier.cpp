// SPDX-License-Identifier: Apache-2.0
//
// The program in README.md, unchanged.
// clang-format off
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>
#include <cinttypes>
#include <cstdio>

int main() {
  doorbell::eventfd event;                                     // as eventfd(0, 0); flags are the kernel's EFD_*
  doorbell::notifier watch{
      event,
      [](doorbell::eventfd_ctx&) { std::puts("signal"); },     // in the signaller's thread, under the queue's lock
      [] { std::puts("release"); }};                           // the last handle was closed; once
  event.signal();
  event.signal(41);
  std::printf("%" PRIu64 "\n", event.read());                  // 42
  doorbell::eventfd second = event;                            // as dup(2)
  event.close();                                               // not the last handle: no HUP
  second.close();                                              // prints "release"
  return watch.unregister() == doorbell::decoupled::by_hup ? 0 : 1;
}
