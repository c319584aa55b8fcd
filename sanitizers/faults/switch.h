// SPDX-License-Identifier: Apache-2.0
//
// The switch of sanitizers/run_faults. The tool includes this header in each file that it rewrites, in a copy of the
// tree; no file of the tree includes it.
//
// doorbell_fault(n) is true if the environment variable DOORBELL_FAULT is n. DOORBELL_FAULT_REACHED may name a file:
// byte n of it becomes 1 when doorbell_fault(n) is called. The file is mapped shared, so what a process has reached is
// kept when it ends by _exit(2), by execve(2) or by a signal, and its children add to it.
//
// Thread safety: doorbell_fault() may be called concurrently and in signal handlers. The variables are set before
// main() and before the constructors of the program.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <type_traits>
#include <utility>

// A constant with a fault is not a constant any more. In a braced list the compiler must accept that. In the bound of
// an array it must report an error, so that the fault is removed instead of making an array of variable length.
#pragma GCC diagnostic error "-Wvla"
#pragma GCC diagnostic ignored "-Wnarrowing"

// An executable or shared library has one of each, regardless of the number of its files that include this header.
__attribute__((weak, visibility("hidden"))) bool doorbell_fault_started = false;
__attribute__((weak, visibility("hidden"))) int doorbell_fault_active = 0;
__attribute__((weak, visibility("hidden"))) long doorbell_fault_places = 0;
__attribute__((weak, visibility("hidden"))) char* doorbell_fault_reached = nullptr;

// libaio.so.1 counts its calls of open, mmap and close, and the model checker replaces them; therefore this code uses
// other names. The model checker must not see the accesses here, because it would treat them as accesses of the code
// that it explores.
__attribute__((constructor(101), no_sanitize("thread"))) static void doorbell_fault_start() {
  if (doorbell_fault_started) return;
  doorbell_fault_started = true;
  if (const char* const number = ::getenv("DOORBELL_FAULT")) doorbell_fault_active = ::atoi(number);
  const char* const path = ::getenv("DOORBELL_FAULT_REACHED");
  if (path == nullptr) return;
  const int file = ::openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  const long size = ::lseek(file, 0, SEEK_END);
  void* const map = ::mmap64(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (map != MAP_FAILED) {
    doorbell_fault_places = size;
    doorbell_fault_reached = static_cast<char*>(map);
  }
  ::close_range(static_cast<unsigned>(file), static_cast<unsigned>(file), 0);
}

__attribute__((no_sanitize("thread"))) inline bool doorbell_fault(int number) noexcept {
  if (doorbell_fault_reached != nullptr && number < doorbell_fault_places) doorbell_fault_reached[number] = 1;
  return doorbell_fault_active == number;
}

namespace doorbell_faults {

/// The value that a fault returns instead of the result.
template <class T>
std::remove_cvref_t<T> zero() {
  return std::remove_cvref_t<T>();
}

/// In place of the type of a variable whose only purpose are its constructor and its destructor: neither runs if the
/// fault is active.
template <int Number, class Scope>
class skipped_scope {
 public:
  template <class... Arguments>
  explicit skipped_scope(Arguments&&... arguments) : is_entered_{!doorbell_fault(Number)} {
    if (is_entered_) ::new (static_cast<void*>(memory_)) Scope{std::forward<Arguments>(arguments)...};
  }
  ~skipped_scope() {
    if (is_entered_) std::launder(reinterpret_cast<std::remove_cv_t<Scope>*>(memory_))->~Scope();
  }
  skipped_scope(const skipped_scope&) = delete;
  skipped_scope& operator=(const skipped_scope&) = delete;

 private:
  const bool is_entered_;
  alignas(Scope) unsigned char memory_[sizeof(Scope)];
};

}  // namespace doorbell_faults
