// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

namespace doorbell::libaio {

/// As long as it lives, nobody can end the calling thread by pthread_cancel(3); a request to is kept for later.
/// libaio's functions are no cancellation points, but reads, polls and sleeps are, and in the middle of ours a thread
/// would end with locks held.
class uncancelled {
 public:
  uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~uncancelled() { ::pthread_setcancelstate(before_, nullptr); }
  uncancelled(const uncancelled&) = delete;
  uncancelled& operator=(const uncancelled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace doorbell::libaio
