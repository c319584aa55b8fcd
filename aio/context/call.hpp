// SPDX-License-Identifier: Apache-2.0
//
// call: the common prologue of the calls on a context, by handle and by aio::context.
#pragma once

#include <doorbell/base/call_scope.hpp>

#include "fork.hpp"
#include "sleep_record.hpp"

namespace doorbell::aio {

/// Marks the calling thread as inside a call, for the lifetime of the object. False: a signal handler has interrupted
/// another call in this thread, and the caller must refuse the call.
class [[nodiscard]] call {
 public:
  // Always inlined, so that the frame address is that of the public function.
  [[gnu::always_inline]] call() noexcept {
    if (!inside_) [[unlikely]]
      return;
    if (is_unnoticed_child()) [[unlikely]]
      become_child();
    if (sleep_record::has_any()) [[unlikely]]
      sleep_record::end_abandoned(__builtin_frame_address(0));
  }
  call(const call&) = delete;
  call& operator=(const call&) = delete;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(inside_); }

 private:
  const base::call_scope inside_;
};

}  // namespace doorbell::aio
