// SPDX-License-Identifier: Apache-2.0
//
// The kernel's AIO by number: answers the calls of syscall(2) that libdoorbell-syscall.so passes on. libaio's functions
// and calls by number use the same contexts. A call for a context that is not doorbell's goes to the kernel.
//
// Thread safety, cancellation and stack: as libaio's functions (entry_points.hpp).
#include <dlfcn.h>
#include <sys/syscall.h>

#include <cerrno>
#include <ctime>

#include <doorbell/aio_calls.hpp>

#include "../../aio/context/foreign_context.hpp"
#include "../../aio/system/kernel_call.hpp"
#include "../statistics/counters.hpp"
#include "../uncancelled_call.hpp"

namespace doorbell::libaio {
namespace {

/// The arguments of syscall(2) after the number.
struct arguments {
  long first, second, third, fourth, fifth, sixth;
};

template <class T>
T* pointer(long argument) noexcept {
  return reinterpret_cast<T*>(argument);
}

// Converts the arguments to the kernel's types.
int carry_out(long number, const arguments& all) noexcept {
  const auto handle = static_cast<aio::aio_context_t>(all.first);
  switch (number) {
    case SYS_io_setup:
      return aio::io_setup(static_cast<unsigned>(all.first), pointer<aio::aio_context_t>(all.second));
    case SYS_io_destroy:
      return aio::io_destroy(handle);
    case SYS_io_submit:
      return aio::io_submit(handle, all.second, pointer<aio::iocb_abi*>(all.third));
    case SYS_io_cancel:
      return aio::io_cancel(handle, pointer<aio::iocb_abi>(all.second), pointer<aio::io_event>(all.third));
    case SYS_io_getevents:
      return aio::io_getevents(handle, all.second, all.third, pointer<aio::io_event>(all.fourth),
                               pointer<timespec>(all.fifth));
    default:
      return aio::io_pgetevents(handle, all.second, all.third, pointer<aio::io_event>(all.fourth),
                                pointer<timespec>(all.fifth), pointer<const aio::aio_sigset>(all.sixth));
  }
}

call kind_of(long number) noexcept {
  switch (number) {
    case SYS_io_setup:
      return call::setup;  // equivalent fault (returned): it is 0
    case SYS_io_destroy:
      return call::destroy;
    case SYS_io_submit:
      return call::submit;
    case SYS_io_cancel:
      return call::cancel;
    default:
      return call::getevents;
  }
}

// If the system refuses the call, the kernel has no such context: EINVAL.
long ask_kernel(long number, const arguments& all) noexcept {
  const long result = aio::kernel_call(number, all.first, all.second, all.third, all.fourth, all.fifth, all.sixth);
  if (result == -1 && (errno == ENOSYS || errno == EPERM || errno == EACCES)) errno = EINVAL;
  return result;
}

// @return as syscall(2): -1 and errno.
[[gnu::noinline]] long answer_uncancelled(long number, const arguments* asked) noexcept {
  const auto& all = *asked;
  const int result = carry_out(number, all);
  const bool has_handle = number != SYS_io_setup;
  if (result == -EINVAL && has_handle && aio::may_be_foreign(static_cast<aio::aio_context_t>(all.first)))
    return ask_kernel(number, all);
  if (auto* const counted = counting()) [[unlikely]]
    counted->called(kind_of(number), result, true);
  if (result >= 0) return result;
  errno = -result;
  return -1;
}

long answer(long number, long first, long second, long third, long fourth, long fifth, long sixth) {
  const arguments all{first, second, third, fourth, fifth, sixth};
  return uncancelled_call<answer_uncancelled>(number, &all);
}

// Registers the function if libdoorbell-syscall.so is preloaded, before the constructors of programs and other
// libraries.
[[gnu::constructor(101)]] void answer_by_number() noexcept {
  using hook = void (*)(decltype(&answer));
  if (void* const found = ::dlsym(RTLD_DEFAULT, "doorbell_answer_syscalls")) reinterpret_cast<hook>(found)(&answer);
}

}  // namespace
}  // namespace doorbell::libaio
