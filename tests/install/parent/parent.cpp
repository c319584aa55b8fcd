// SPDX-License-Identifier: Apache-2.0
#include <doorbell/eventfd.hpp>

int main() {
  doorbell::eventfd counter;
  counter.signal(42);
  return counter.read() == 42 ? 0 : 1;
}
