// SPDX-License-Identifier: Apache-2.0
//
// From when the library is loaded until the process ends: counts, if the environment asks for it, and says so at the end.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include <doorbell/base/unique_fd.hpp>

#include "counters.hpp"
#include "report.hpp"
#include "system_calls.hpp"

namespace doorbell::libaio {
namespace {

// Never destroyed: other threads may submit until the very end.
constinit counters* of_process = nullptr;
// Whose numbers these are. A child of vfork(2) shares them, and has none of its own.
constinit pid_t process = 0;

void write_all(int file, std::string_view text) noexcept {
  while (!text.empty()) {
    const auto written = ::write(file, text.data(), text.size());
    if (written < 0 && errno != EINTR) return;  // nobody is left to be told
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// In one piece, so that those of several processes do not mix.
void report() noexcept try {
  if (::getpid() != process || of_process->is_empty()) return;
  const char* const form = ::secure_getenv("DOORBELL_STATS");
  const auto text = form != nullptr && std::string_view{form} == "json" ? as_json(*of_process) : as_text(*of_process);
  process = 0;  // once
  const char* const path = ::secure_getenv("DOORBELL_STATS_FILE");
  if (path == nullptr || *path == '\0') {
    write_all(STDERR_FILENO, text);
    return;
  }
  const base::unique_fd file{::open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0666)};
  if (file)
    write_all(file.get(), text);
  else
    write_all(STDERR_FILENO, std::string{"doorbell: "} + path + ": " + std::strerror(errno) + "\n" + text);
} catch (const std::bad_alloc&) {
  write_all(STDERR_FILENO, "doorbell: no memory for the statistics\n");
}

void begin_anew_in_child() noexcept {
  process = ::getpid();
  of_process->reset();
  system_calls::made = 0;
}

// libdoorbell-exit.so, which doorbell-run loads for this, calls it where a process ends without exit(3).
void report_at_underscore_exit() noexcept {
  using hook = void (*)(void (*)());
  if (void* const found = ::dlsym(RTLD_DEFAULT, "doorbell_before_exit"))
    reinterpret_cast<hook>(found)([] { report(); });
}

__attribute__((constructor)) void start() noexcept {
  const char* const wanted = ::secure_getenv("DOORBELL_STATS");
  if (wanted == nullptr || *wanted == '\0') return;
  of_process = new (std::nothrow) counters;
  if (of_process == nullptr) return;
  process = ::getpid();
  system_calls::are_counted = true;
  aio::request_watcher::set(*of_process);
  ::pthread_atfork(nullptr, nullptr, [] { begin_anew_in_child(); });
  std::atexit([] { report(); });
  report_at_underscore_exit();
}

}  // namespace

counters* counting() noexcept { return of_process; }

}  // namespace doorbell::libaio
