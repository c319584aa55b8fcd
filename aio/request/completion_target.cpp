// SPDX-License-Identifier: Apache-2.0
#include "completion_target.hpp"

#include "../reaper/reaper.hpp"
#include "../system/eventfd_signal.hpp"

namespace doorbell::aio {
namespace {

void add_the_rest(const resfd_target_ptr& signalled) noexcept {
  if (signalled->is_full()) reaper::process().add_when_there_is_room(signalled);
}

}  // namespace

// Tries the kernel's AIO first: between a check of the descriptor and a write(2), the program may put a file at its
// number.
void completion_target::signal(std::uint64_t times) const noexcept {
  if (kernel_eventfd != nullptr && !eventfd_ctx::in_callback()) {
    times = eventfd_signal::add(kernel_eventfd->file(), times);
    if (times > 0) times = eventfd->forward_directly(times);
    if (times == 0) return;
  }
  eventfd->signal(times);
  forward_the_rest();
}

// Tries write(2) first. signal() adds the rest if the write did not fit or might have blocked.
void completion_target::signal_verified(std::uint64_t times) const noexcept {
  if (kernel_eventfd != nullptr && !eventfd_ctx::in_callback()) times = eventfd->forward_directly(times);
  if (times > 0) signal(times);
}

// In a callback, signal() only defers the signal until the callback returns, and the write to the kernel eventfd is
// deferred until after that signal. So the check for a remaining count is deferred twice.
void completion_target::forward_the_rest() const noexcept {
  if (kernel_eventfd == nullptr) return;
  if (!eventfd_ctx::in_callback()) {
    add_the_rest(kernel_eventfd);
    return;
  }
  constexpr auto check_after_signal = [](void* object, std::uint64_t) noexcept {
    constexpr auto check_after_write = [](void* signalled, std::uint64_t) noexcept {
      add_the_rest(resfd_target_ptr{static_cast<resfd_target*>(signalled), false});
    };
    eventfd_ctx::after_callback(check_after_write, object);
  };
  eventfd_ctx::after_callback(check_after_signal, resfd_target_ptr{kernel_eventfd}.detach());
}

}  // namespace doorbell::aio
