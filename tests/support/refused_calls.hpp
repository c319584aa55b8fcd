// SPDX-License-Identifier: Apache-2.0
//
// Makes system calls fail until the process ends. For use in child processes.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace doorbell::test {

/// Whether refuse() works: it requires seccomp(2), which qemu-user does not support.
[[nodiscard]] inline bool can_refuse() { return ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0; }

/// Which calls fail: all calls of a number; only those whose argument has one of the flags; or only those whose
/// argument has the value in its lower half.
struct refused_call {
  long number;
  int error;
  unsigned argument = 0;
  std::uint32_t flags = 0;
  const std::uint32_t* value = nullptr;
};

/// From now on such calls fail, permanently: of this thread and the threads that it starts, or of all threads of the
/// process.
inline void refuse(const refused_call& which, bool of_all_threads) {
  const auto offset = static_cast<std::uint32_t>(offsetof(seccomp_data, args) + which.argument * sizeof(std::uint64_t));
  const auto all = sock_filter BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0);
  const auto with_flag = sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, which.flags, 0, 1);
  const auto with_value = [](std::uint32_t value) {
    return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
  };
  auto argument_matches = all;
  if (which.value != nullptr)
    argument_matches = with_value(*which.value);
  else if (which.flags != 0)
    argument_matches = with_flag;
  std::array<sock_filter, 6> program{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(which.number), 0, 3),
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
      argument_matches,
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(which.error)),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  const unsigned long threads = of_all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, threads, &filter) != 0)
    throw std::system_error{errno, std::system_category(), "seccomp"};
}

/// From now on a system call of this thread and the threads that it starts fails with `error`, permanently. With
/// `flags`, only if its argument number `argument` has one of them.
inline void refuse(long number, int error, unsigned argument = 0, std::uint32_t flags = 0) {
  refuse({.number = number, .error = error, .argument = argument, .flags = flags}, false);
}

/// The same in all threads, if the call's argument number `argument` has the value `value`.
inline void refuse_value(long number, int error, unsigned argument, std::uint32_t value) {
  refuse({.number = number, .error = error, .argument = argument, .value = &value}, true);
}

/// Makes the system calls of the kernel's AIO fail with ENOSYS. In qemu-user they always fail with ENOSYS.
inline void refuse_kernel_aio() {
  if (!can_refuse() && ::syscall(SYS_io_destroy, 0UL) != 0 && errno == ENOSYS) return;
  for (const long call :
       {SYS_io_setup, SYS_io_destroy, SYS_io_submit, SYS_io_cancel, SYS_io_getevents, SYS_io_pgetevents})
    refuse(call, ENOSYS);
}

}  // namespace doorbell::test
