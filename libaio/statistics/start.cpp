// SPDX-License-Identifier: Apache-2.0
//
// From the loading of the library to the end of the process: counts, if the environment requests statistics, and
// reports at the end.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include <doorbell/base/unique_fd.hpp>

#include "counters.hpp"
#include "report.hpp"
#include "system_calls.hpp"

namespace doorbell::libaio {
namespace {

// Never destroyed: other threads may submit until the process has ended.
constinit counters* of_process = nullptr;
// The process that the numbers belong to; `none` after its report. A child of vfork(2) shares the numbers, and reports
// none of its own.
constexpr pid_t none = 0;
constinit std::atomic<pid_t> process{none};

void write_all(int file, std::string_view text) noexcept {
  while (!text.empty()) {
    const auto written = ::write(file, text.data(), text.size());
    if (written >= 0)  // equivalent fault (comparison): write(2) of some bytes does not return 0
      text.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR)
      return;  // the error cannot be reported
  }
}

/// The requests of the environment, read when the library is loaded: the program may change its environment later, and
/// a signal handler that ends the process must not read it during a change.
struct {
  bool as_json = false;
  bool reports_no_call = false;           // in the program that doorbell-run has become, and in its children
  std::array<char, PATH_MAX + 1> path{};  // empty: stderr
} constinit wanted;

// Writes the report in one piece, so that reports of several processes do not mix. Async-signal-safe: see report.hpp.
void report() noexcept {
  // Only once, even if threads and signal handlers end the process concurrently.
  if (auto own = ::getpid(); !process.compare_exchange_strong(own, none)) return;
  const bool none_has_called = of_process->leave_family();
  if (of_process->is_empty() && !(none_has_called && wanted.reports_no_call)) return;
  static constinit report_text text;
  base::unique_fd file;
  if (wanted.path.front() != '\0') {
    // A terminal that is opened for writing only does not become the controlling terminal of this process.
    file = base::unique_fd{::open(wanted.path.data(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666)};
    if (!file) text << "doorbell: " << wanted.path.data() << ": " << ::strerrordesc_np(errno) << '\n';
  }
  if (wanted.as_json)
    write_json(text, *of_process);
  else if (of_process->is_empty())
    write_no_call(text);
  else
    write_text(text, *of_process);
  write_all(file ? file.get() : STDERR_FILENO, text.view());
}

void begin_anew_in_child() noexcept {
  process = ::getpid();
  of_process->reset();
  system_calls::made = {};
}

// libdoorbell-exit.so, which doorbell-run preloads for this purpose, calls the function if a process ends without
// exit(3).
void report_at_underscore_exit() noexcept {
  using hook = void (*)(void (*)());
  if (void* const found = ::dlsym(RTLD_DEFAULT, "doorbell_before_exit"))
    reinterpret_cast<hook>(found)([] { report(); });
}

__attribute__((constructor)) void start() noexcept {
  const char* const form = ::secure_getenv("DOORBELL_STATS");
  if (form == nullptr || *form == '\0') return;
  wanted.as_json = std::string_view{form} == "json";
  // A path that is too long is cut to PATH_MAX bytes; open(2) refuses this length, too.
  if (const char* const path = ::secure_getenv("DOORBELL_STATS_FILE"))
    ::memccpy(wanted.path.data(), path, '\0', wanted.path.size() - 1);
  try {
    of_process = new counters;
  } catch (const std::bad_alloc&) {
    return;
  }
  process = ::getpid();
  const char* const started = ::secure_getenv("DOORBELL_STATS_PROCESS");
  wanted.reports_no_call = started != nullptr && std::atol(started) == process.load();
  system_calls::are_counted = true;
  aio::request_observer::set(*of_process);
  ::pthread_atfork([] { of_process->expect_child(); }, nullptr, [] { begin_anew_in_child(); });
  std::atexit([] { report(); });
  report_at_underscore_exit();
}

}  // namespace

counters* counting() noexcept { return of_process; }

becoming_another_program::becoming_another_program() noexcept
    : counts_{::getpid() == process.load() ? of_process : nullptr} {
  if (counts_ != nullptr) counts_->leave_family();
}

becoming_another_program::~becoming_another_program() {
  if (counts_ != nullptr) counts_->return_to_family();
}

}  // namespace doorbell::libaio
