// SPDX-License-Identifier: Apache-2.0
#include "failure.hpp"

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "tracking.hpp"

namespace doorbell::model {
namespace {

failure_sink* the_sink = nullptr;

// Faults are handled on a separate stack, because the thread's own may be invalid.
alignas(16) std::array<char, std::size_t{1} << 18> fault_stack;

void on_fault(int signal) noexcept {
  fail(failure::crash, signal == SIGABRT ? "the program aborts" : "an address without memory is accessed");
}

}  // namespace

std::string_view to_string(failure what) noexcept {
  switch (what) {
    case failure::assertion:
      return "assertion";
    case failure::data_race:
      return "data race";
    case failure::use_after_free:
      return "use after free";
    case failure::double_free:
      return "double free";
    case failure::out_of_bounds:
      return "out of bounds";
    case failure::leak:
      return "leak";
    case failure::deadlock:
      return "deadlock";
    case failure::lost_wakeup:
      return "lost wakeup";
    case failure::livelock:
      return "livelock";
    case failure::lock_order_inversion:
      return "lock order inversion";
    case failure::crash:
      return "crash";
    case failure::broken_scenario:
      return "broken scenario";
  }
  return "failure";
}

void set_failure_sink(failure_sink& sink) noexcept { the_sink = &sink; }

void fail(failure what, const std::string& text) noexcept {
  const not_tracked here;
  if (the_sink != nullptr) the_sink->take(what, text);
  std::fprintf(stderr, "model: %s: %s\n", std::string{to_string(what)}.c_str(), text.c_str());
  std::_Exit(1);
}

void catch_crashes() noexcept {
  const stack_t stack{.ss_sp = fault_stack.data(), .ss_flags = 0, .ss_size = fault_stack.size()};
  ::sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_handler = on_fault;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) ::sigaction(signal, &action, nullptr);
  std::set_terminate([] { fail(failure::crash, "std::terminate is called"); });
}

}  // namespace doorbell::model

// assert() calls this function instead of the C library's, because the linker finds the program's first.
//
// NOLINTNEXTLINE(readability-identifier-naming): the name is the C library's
extern "C" void __assert_fail(const char* what, const char* file, unsigned line, const char* /*function*/) noexcept {
  const doorbell::model::not_tracked here;
  const std::string path{file};
  doorbell::model::fail(doorbell::model::failure::assertion,
                        std::string{what} + " (" + path.substr(path.rfind('/') + 1) + ":" + std::to_string(line) + ")");
}
