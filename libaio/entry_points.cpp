// SPDX-License-Identifier: Apache-2.0
#include "entry_points.hpp"

#include "statistics/counters.hpp"
#include "uncancelled_call.hpp"

namespace aio = doorbell::aio;
using doorbell::libaio::aio_context_t;
using doorbell::libaio::call;
using doorbell::libaio::io_event;
using doorbell::libaio::iocb_abi;
using doorbell::libaio::uncancelled_call;

namespace {

/// The size of the kernel's sigset_t.
constexpr std::size_t kernel_sigset_bytes = 8;

// Counts the call, if statistics are on. @return `answer`.
int counted(call which, int answer, bool needs_the_kernel = true) noexcept {
  if (auto* const all = doorbell::libaio::counting()) [[unlikely]]
    all->called(which, answer, needs_the_kernel);
  return answer;
}

// A poll of an empty ring: libaio answers it without a system call.
bool is_a_look_at_nothing(const timespec* timeout, int answer) noexcept {
  return answer == 0 && timeout != nullptr && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
}

[[gnu::noinline]] int setup(unsigned nr_events, aio_context_t* handle) noexcept {
  return counted(call::setup, aio::io_setup(nr_events, handle));
}

[[gnu::noinline]] int destroy(aio_context_t handle) noexcept { return counted(call::destroy, aio::io_destroy(handle)); }

[[gnu::noinline]] int submit(aio_context_t handle, long nr, iocb_abi** iocbs) noexcept {
  return counted(call::submit, aio::io_submit(handle, nr, iocbs));
}

[[gnu::noinline]] int cancel(aio_context_t handle, iocb_abi* request, io_event* result) noexcept {
  return counted(call::cancel, aio::io_cancel(handle, request, result));
}

[[gnu::noinline]] int getevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout) noexcept {
  const int got = aio::io_getevents(handle, min, nr, events, timeout);
  return counted(call::getevents, got, !is_a_look_at_nothing(timeout, got));
}

[[gnu::noinline]] int pgetevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout,
                                 const sigset_t* sigmask) noexcept {
  const aio::aio_sigset blocked{.sigmask = sigmask, .sigsetsize = kernel_sigset_bytes};
  return counted(call::getevents, aio::io_pgetevents(handle, min, nr, events, timeout, &blocked));
}

}  // namespace

extern "C" {

// A negative number becomes larger than any context can be, as in the kernel.
int io_setup(int nr_events, aio_context_t* handle) {
  return uncancelled_call<setup>(static_cast<unsigned>(nr_events), handle);
}

int io_destroy(aio_context_t handle) { return uncancelled_call<destroy>(handle); }

int io_submit(aio_context_t handle, long nr, iocb_abi** iocbs) { return uncancelled_call<submit>(handle, nr, iocbs); }

int io_cancel(aio_context_t handle, iocb_abi* request, io_event* result) {
  return uncancelled_call<cancel>(handle, request, result);
}

int io_getevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout) {
  return uncancelled_call<getevents>(handle, min, nr, events, timeout);
}

int io_pgetevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout,
                  const sigset_t* sigmask) {
  return uncancelled_call<pgetevents>(handle, min, nr, events, timeout, sigmask);
}
}
