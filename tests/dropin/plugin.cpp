// SPDX-License-Identifier: Apache-2.0
//
// A plugin that uses libaio, for a host that does not.
#include "queue.hpp"

/// Writes to the file and reads it back. @return whether the bytes are the same.
extern "C" __attribute__((visibility("default"))) bool write_and_read_back(int file) {
  doorbell::test::queue own;
  char text[8] = "";
  return own.write(file, "plugin", 6, 0) == 6 && own.read(file, text, sizeof text, 0) == 6 && text[0] == 'p' &&
         text[5] == 'n';
}
