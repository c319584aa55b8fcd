// SPDX-License-Identifier: Apache-2.0
//
// operation: what a thread is about to do. The scheduler knows it of every thread before it decides who goes first.
#pragma once

namespace doorbell::model {

struct operation {
  const char* name = "begin";    ///< for whoever reads a schedule
  const void* object = nullptr;  ///< on what; null: on nothing that others could notice
  /// Two operations on one object depend on each other unless both leave it as it is.
  bool writes = true;
  /// Whether it can be done now; null: always.
  bool (*ready)(const void* asked) noexcept = nullptr;
  const void* asked = nullptr;
  /// It can be done though it is not ready, because its time may be up.
  bool timed = false;
  /// The thread sleeps until another wakes it; else, if it is not ready, it waits for a lock or the like.
  bool sleeps = false;
  /// A thread in the background may be left in it for good: it waits for something to do.
  bool rests = false;
};

}  // namespace doorbell::model
