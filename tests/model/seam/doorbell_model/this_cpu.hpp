// SPDX-License-Identifier: Apache-2.0
//
// What doorbell/base/this_cpu.hpp offers, under the model checker: the CPU is the one that the scenario says.
#pragma once

#include <doorbell_model/calls.hpp>

namespace doorbell::base {

inline unsigned this_cpu() noexcept { return model::cpu(); }

}  // namespace doorbell::base
