// SPDX-License-Identifier: Apache-2.0
#include "reaper_thread.hpp"

namespace doorbell::aio::reaper_thread {
namespace {

constinit thread_local bool is_reaper = false;

}  // namespace

bool is_this_thread() noexcept { return is_reaper; }
void note_this_thread() noexcept { is_reaper = true; }

}  // namespace doorbell::aio::reaper_thread
