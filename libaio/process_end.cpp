// SPDX-License-Identifier: Apache-2.0
//
// The functions of the C library that end the process without exit(3), or replace its program. If this library is
// preloaded or linked, its functions are found first. They wait for accepted file I/O, as the kernel would, and call
// the next ones.
//
// They have no version: a program that was linked with this library must not depend on a libaio.so.1 that has them.
//
// Thread safety: all functions may be called concurrently, in signal handlers, and in a child of vfork(2), where they
// change only their own stack.
#include "../aio/context/process_end.hpp"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>

#include <doorbell/base/export.hpp>

#include "statistics/counters.hpp"

using doorbell::aio::file_io_pause;
using doorbell::libaio::becoming_another_program;

namespace {

/// The functions that would be called without this library. Found when it is loaded, since dlsym(3) may allocate
/// memory.
struct {
  void (*exit)(int);
  decltype(&::execve) execve;
  decltype(&::execvpe) execvpe;
  decltype(&::fexecve) fexecve;
  decltype(&::execveat) execveat;
} constinit next{};

template <class Function>
void look_up(Function*& function, const char* name) noexcept {
  function = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

[[gnu::constructor(101)]] void look_up_all() noexcept {
  look_up(next.exit, "_exit");
  look_up(next.execve, "execve");
  look_up(next.execvpe, "execvpe");
  look_up(next.fexecve, "fexecve");
  look_up(next.execveat, "execveat");
}

[[noreturn]] void end_process(int status) noexcept {
  {
    file_io_pause until_the_end;
    until_the_end.keep();
  }
  if (next.exit != nullptr) next.exit(status);
  for (;;) ::syscall(SYS_exit_group, status);
}

// If the call fails, contexts continue as before.
template <class Function, class... Arguments>
int become(Function* function, Arguments... arguments) noexcept {
  if (function == nullptr) {  // called by the constructor of another library, before this one's
    errno = ENOSYS;
    return -1;
  }
  const file_io_pause until_failure;
  const becoming_another_program counted;
  return function(arguments...);
}

using strings = char* const*;

int execute(const char* path, strings arguments, strings environment) noexcept {
  return become(next.execve, path, arguments, environment);
}
int execute_found(const char* file, strings arguments, strings environment) noexcept {
  return become(next.execvpe, file, arguments, environment);
}

/// The number of arguments of execl(3) after the first, including the null pointer at the end.
std::size_t count(std::va_list& rest) noexcept {
  std::va_list counted;
  va_copy(counted, rest);
  std::size_t number = 1;  // equivalent fault (constant): the array has room for one more
  while (va_arg(counted, char*) != nullptr) ++number;
  va_end(counted);
  return number;
}

char** collect(char** into, const char* first, std::va_list& rest) noexcept {
  char** at = into;
  *at = const_cast<char*>(first);
  do *++at = va_arg(rest, char*);
  while (*at != nullptr);
  return into;
}

}  // namespace

// An array on the stack, because execl(3) may be called where malloc(3) may not. It is a macro because the array must
// be in the caller's stack frame.
#define DOORBELL_ARGUMENTS(first, rest) \
  collect(static_cast<char**>(__builtin_alloca((1 + count(rest)) * sizeof(char*))), first, rest)

extern "C" {
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): glibc's names begin with underscores

DOORBELL_EXPORT void _exit(int status) { end_process(status); }
DOORBELL_EXPORT void _Exit(int status) noexcept { end_process(status); }

DOORBELL_EXPORT int execve(const char* path, strings arguments, strings environment) noexcept {
  return execute(path, arguments, environment);
}
DOORBELL_EXPORT int execv(const char* path, strings arguments) noexcept { return execute(path, arguments, environ); }
DOORBELL_EXPORT int execvpe(const char* file, strings arguments, strings environment) noexcept {
  return execute_found(file, arguments, environment);
}
DOORBELL_EXPORT int execvp(const char* file, strings arguments) noexcept {
  return execute_found(file, arguments, environ);
}
DOORBELL_EXPORT int fexecve(int file, strings arguments, strings environment) noexcept {
  return become(next.fexecve, file, arguments, environment);
}
DOORBELL_EXPORT int execveat(int folder, const char* path, strings arguments, strings environment, int flags) noexcept {
  return become(next.execveat, folder, path, arguments, environment, flags);
}

DOORBELL_EXPORT int execl(const char* path, const char* first, ...) noexcept {
  std::va_list rest;
  va_start(rest, first);
  auto* const arguments = DOORBELL_ARGUMENTS(first, rest);
  va_end(rest);
  return execute(path, arguments, environ);
}
DOORBELL_EXPORT int execlp(const char* file, const char* first, ...) noexcept {
  std::va_list rest;
  va_start(rest, first);
  auto* const arguments = DOORBELL_ARGUMENTS(first, rest);
  va_end(rest);
  return execute_found(file, arguments, environ);
}
DOORBELL_EXPORT int execle(const char* path, const char* first, ...) noexcept {
  std::va_list rest;
  va_start(rest, first);
  auto* const arguments = DOORBELL_ARGUMENTS(first, rest);
  auto* const environment = va_arg(rest, char**);
  va_end(rest);
  return execute(path, arguments, environment);
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)
}
