// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/call_scope.hpp>

#ifndef DOORBELL_MODEL
namespace doorbell::base::seam {

thread_local constinit std::atomic<bool> call_flags::inside{false};
thread_local constinit std::atomic<bool> call_flags::has_refused{false};

}  // namespace doorbell::base::seam
#endif
