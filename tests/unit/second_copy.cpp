// SPDX-License-Identifier: Apache-2.0
//
// A plug-in that contains the library, loaded by a program that also contains it.
#include <doorbell/base/rcu.hpp>

extern "C" [[gnu::visibility("default")]] void synchronize_by_second_copy() { doorbell::base::rcu_synchronize(); }
