// SPDX-License-Identifier: Apache-2.0
//
// The kernel's AIO and doorbell's, behind the same calls. Each call returns 0 or a count, or a negative errno. Requests
// and events have doorbell's types, whose layout is the kernel's.
#pragma once

#include <dlfcn.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <ostream>
#include <stdexcept>

#include <doorbell/aio_calls.hpp>

namespace doorbell::test {

static_assert(sizeof(::iocb) == sizeof(aio::iocb_abi) && sizeof(::io_event) == sizeof(aio::io_event));
static_assert(offsetof(::iocb, aio_key) == offsetof(aio::iocb_abi, key));
static_assert(offsetof(::iocb, aio_rw_flags) == offsetof(aio::iocb_abi, rw_flags));
static_assert(offsetof(::iocb, aio_fildes) == offsetof(aio::iocb_abi, fildes));
static_assert(offsetof(::iocb, aio_reserved2) == offsetof(aio::iocb_abi, reserved2));
static_assert(offsetof(::iocb, aio_resfd) == offsetof(aio::iocb_abi, resfd));

class aio_side {
 public:
  virtual ~aio_side() = default;
  [[nodiscard]] virtual bool is_kernel() const = 0;
  /// Whether the calls are made by syscall(2), which sets errno.
  [[nodiscard]] virtual bool is_by_number() const { return false; }
  virtual int setup(unsigned nr, aio::aio_context_t* handle) const = 0;
  virtual int destroy(aio::aio_context_t handle) const = 0;
  virtual int submit(aio::aio_context_t handle, long nr, aio::iocb_abi** iocbs) const = 0;
  virtual int cancel(aio::aio_context_t handle, aio::iocb_abi* request, aio::io_event* result) const = 0;
  virtual int getevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events,
                        timespec* timeout) const = 0;
  virtual int pgetevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout,
                         const aio::aio_sigset* blocked) const = 0;
  /// From now on the numbers of eventfds may refer to other eventfds.
  virtual void forget_eventfds() const {}

 protected:
  aio_side() = default;
  aio_side(const aio_side&) = default;
  aio_side& operator=(const aio_side&) = default;
};

/// Makes system calls directly, without libaio.
class calls_by_number : public aio_side {
 public:
  [[nodiscard]] bool is_by_number() const override { return true; }
  int setup(unsigned nr, aio::aio_context_t* handle) const override {
    return told(::syscall(SYS_io_setup, nr, handle));
  }
  int destroy(aio::aio_context_t handle) const override { return told(::syscall(SYS_io_destroy, handle)); }
  int submit(aio::aio_context_t handle, long nr, aio::iocb_abi** iocbs) const override {
    return told(::syscall(SYS_io_submit, handle, nr, iocbs));
  }
  int cancel(aio::aio_context_t handle, aio::iocb_abi* request, aio::io_event* result) const override {
    return told(::syscall(SYS_io_cancel, handle, request, result));
  }
  int getevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout) const override {
    return told(::syscall(SYS_io_getevents, handle, min, nr, events, timeout));
  }
  int pgetevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout,
                 const aio::aio_sigset* blocked) const override {
    return told(::syscall(SYS_io_pgetevents, handle, min, nr, events, timeout, blocked));
  }

 private:
  static int told(long result) { return result < 0 ? -errno : static_cast<int>(result); }
};

class kernel_aio_side final : public calls_by_number {
 public:
  [[nodiscard]] bool is_kernel() const override { return true; }
};

/// The drop-in, used by a program that makes all calls by syscall(2): libdoorbell-syscall.so and libaio.so.1 are
/// preloaded.
class dropin_by_number_side final : public calls_by_number {
 public:
  dropin_by_number_side() {
    if (::dlsym(RTLD_DEFAULT, "doorbell_answer_syscalls") == nullptr)
      throw std::logic_error{"libdoorbell-syscall.so is not preloaded"};
  }
  [[nodiscard]] bool is_kernel() const override { return false; }
};

/// Uses the engine that DOORBELL_ENGINE names, or the automatic choice.
class doorbell_aio_side final : public aio_side {
 public:
  [[nodiscard]] bool is_kernel() const override { return false; }
  int setup(unsigned nr, aio::aio_context_t* handle) const override { return aio::io_setup(nr, handle); }
  int destroy(aio::aio_context_t handle) const override { return aio::io_destroy(handle); }
  int submit(aio::aio_context_t handle, long nr, aio::iocb_abi** iocbs) const override {
    return aio::io_submit(handle, nr, iocbs);
  }
  int cancel(aio::aio_context_t handle, aio::iocb_abi* request, aio::io_event* result) const override {
    return aio::io_cancel(handle, request, result);
  }
  int getevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout) const override {
    return aio::io_getevents(handle, min, nr, events, timeout);
  }
  int pgetevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout,
                 const aio::aio_sigset* blocked) const override {
    return aio::io_pgetevents(handle, min, nr, events, timeout, blocked);
  }
};

[[nodiscard]] inline const aio_side& kernels_aio() {
  static const kernel_aio_side one;
  return one;
}
/// Uses the calls of the library, or, with DOORBELL_TEST_BY_NUMBER=1 in the environment, the drop-in and syscall(2).
[[nodiscard]] inline const aio_side& doorbells_aio() {
  static const std::unique_ptr<const aio_side> one = []() -> std::unique_ptr<const aio_side> {
    if (std::getenv("DOORBELL_TEST_BY_NUMBER") != nullptr) return std::make_unique<dropin_by_number_side>();
    return std::make_unique<doorbell_aio_side>();
  }();
  return *one;
}

inline std::ostream& operator<<(std::ostream& out, const aio_side& side) {
  return out << (side.is_kernel() ? "kernel" : "doorbell");
}

}  // namespace doorbell::test
