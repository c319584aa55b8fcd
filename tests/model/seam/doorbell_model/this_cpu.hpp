// SPDX-License-Identifier: Apache-2.0
//
// doorbell/base/this_cpu.hpp for the model checker: the scenario chooses the CPU.
#pragma once

#include <doorbell_model/calls.hpp>

namespace doorbell::base {

inline unsigned this_cpu() noexcept { return model::cpu(); }

}  // namespace doorbell::base
