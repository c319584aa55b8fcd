// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/call_scope.hpp>

namespace doorbell::base {

thread_local constinit std::atomic<const void*> call_scope::inside_{nullptr};
thread_local constinit std::atomic<bool> call_scope::has_refused_{false};

}  // namespace doorbell::base
