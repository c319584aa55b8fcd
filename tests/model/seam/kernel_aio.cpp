// SPDX-License-Identifier: Apache-2.0
//
// The kernel's own AIO, as on a system where io_setup(2) fails: the workers execute the requests.
#include "engine/kernel/kernel_aio.hpp"

namespace doorbell::aio {

kernel_aio::kernel_aio(unsigned in_flight) noexcept : wanted_{in_flight} {}
kernel_aio::~kernel_aio() = default;

std::size_t kernel_aio::start(std::span<request* const> /*requests*/, int /*notify_fd*/) noexcept { return 0; }
bool kernel_aio::has_completions() const noexcept { return false; }
std::size_t kernel_aio::carried_out() const noexcept { return 0; }
std::size_t kernel_aio::take(std::span<completion> /*completions*/) noexcept { return 0; }
bool kernel_aio::arm(int /*pollable*/) noexcept { return false; }
kernel_aio::woken_by kernel_aio::wait(std::optional<std::chrono::nanoseconds> /*longest*/) const noexcept {
  return woken_by::timeout;
}
void kernel_aio::wake() noexcept {}
void kernel_aio::forget_spares_in_child() noexcept {}

}  // namespace doorbell::aio
