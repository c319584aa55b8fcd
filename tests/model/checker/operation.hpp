// SPDX-License-Identifier: Apache-2.0
//
// operation: the next operation of a thread. The scheduler knows it for every thread before it chooses one.
#pragma once

namespace doorbell::model {

struct operation {
  const char* name = "begin";    ///< for whoever reads a schedule
  const void* object = nullptr;  ///< the object; null: none that other threads use
  /// Two operations on one object depend on each other unless both leave it as it is.
  bool writes = true;
  /// Whether it can be done now; null: always.
  bool (*ready)(const void* asked) noexcept = nullptr;
  const void* asked = nullptr;
  /// It can be done though it is not ready, because its time may be up.
  bool timed = false;
  /// The thread sleeps until another wakes it; else, if it is not ready, it waits for a lock or the like.
  bool sleeps = false;
  /// A background thread may be left in it at the end: it waits for work.
  bool rests = false;
};

}  // namespace doorbell::model
