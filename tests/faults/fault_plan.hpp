// SPDX-License-Identifier: Apache-2.0
//
// The cells of the table: which system call fails, with which error, and when.
#pragma once

#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace doorbell::test {

/// System calls that fail together, because libc falls back from one to the next.
struct call_kind {
  const char* name;
  std::vector<long> numbers;
  bool is_transfer = false;  ///< EAGAIN means that the call would block
  bool is_wait = false;      ///< the call only sleeps
};

struct error_kind {
  const char* name;
  int number;
};

inline constexpr error_kind injected_errors[] = {{"EINTR", EINTR}, {"EAGAIN", EAGAIN}, {"ENOMEM", ENOMEM},
                                                 {"EPERM", EPERM}, {"EBADF", EBADF},   {"ENOSYS", ENOSYS}};

/// Which of the calls fail, counted from 1.
struct schedule {
  const char* name;
  unsigned first;
  unsigned every;  ///< 0: only call number `first`

  /// @param failed how many calls have failed. @param most the limit of failed calls; 0: no limit.
  [[nodiscard]] bool hits(unsigned call, unsigned failed, unsigned most) const noexcept {
    if (first == 0 || call < first || (most > 0 && failed >= most)) return false;
    return every == 0 ? call == first : (call - first) % every == 0;
  }
};

inline constexpr schedule schedules[] = {{"1st", 1, 0},      {"2nd", 2, 0},      {"3rd", 3, 0},     {"every_5th", 5, 5},
                                         {"from_1st", 1, 1}, {"from_2nd", 2, 1}, {"from_5th", 5, 1}};

/// The state that the child and its supervisor share, in shared memory.
struct fault_state {
  std::atomic<bool> armed{false};   ///< calls may fail
  std::atomic<bool> inside{false};  ///< the child's main thread is inside the library; its other threads always are
  std::atomic<unsigned> calls{0};   ///< calls since it was armed
  std::atomic<unsigned> failed{0};
  std::atomic<unsigned> calls_in_all{0};
  std::atomic<unsigned> failed_in_all{0};
  std::atomic<unsigned> accepted{0};
  std::atomic<unsigned> answered_by_error{0};
  std::atomic<unsigned> refused{0};
  std::atomic<unsigned> descriptors{0};  ///< created by the library, and kept open

  void arm() noexcept {
    calls = failed = 0;
    armed = true;
  }
  void disarm() noexcept {
    armed = false;
    calls_in_all += calls;
  }
};

}  // namespace doorbell::test
