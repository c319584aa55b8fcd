// SPDX-License-Identifier: Apache-2.0
//
// call: what each call on a context begins with, whether by handle or by aio::context.
#pragma once

#include <doorbell/base/call_scope.hpp>

#include "fork.hpp"
#include "sleep_record.hpp"

namespace doorbell::aio {

/// During its lifetime the thread is inside a call. False: the call interrupts another one, and must be refused.
class [[nodiscard]] call {
 public:
  // Inline, so that the frame is that of the function which is called.
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
