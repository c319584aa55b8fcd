// SPDX-License-Identifier: Apache-2.0
//
// operation: the next operation of a thread. The scheduler knows it for every thread before it chooses one.
#pragma once

namespace doorbell::model {

struct operation {
  const char* name = "begin";    ///< shown in a trace
  const void* object = nullptr;  ///< null: none that other threads use
  /// Two operations on one object are dependent unless both only read it.
  bool writes = true;
  /// Whether it can be executed now; null: always.
  bool (*ready)(const void* asked) noexcept = nullptr;
  const void* asked = nullptr;
  /// It can be executed even if it is not ready, because its timeout may expire.
  bool timed = false;
  /// Whether the thread sleeps until another thread wakes it. Otherwise a thread that is not ready waits for a lock or
  /// the like.
  bool sleeps = false;
  /// Whether a background thread may be left in it at the end, because it waits for work.
  bool rests = false;
};

}  // namespace doorbell::model
