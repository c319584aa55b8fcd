// SPDX-License-Identifier: Apache-2.0
//
// Runs a random program of AIO on the kernel and on doorbell, operation by operation, and compares every result.
//
// The two sides may complete requests in different orders and at different times. So aio_lockstep records which
// requests are certain to complete. An operation fetches no more events than those of requests that are certain
// to complete, and waits for them. Events are compared as sets, once those of all certain requests have been fetched.
// An operation whose result depends on the progress of a request runs after all certain events have been fetched (a
// change of the request's file), or is left out (the cancel of a certain request).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>

#include "aio_program.hpp"
#include "aio_world.hpp"
#include "support/other_thread.hpp"

namespace doorbell::test {

class aio_lockstep {
 public:
  /// @param log receives every operation and its result, if not null.
  explicit aio_lockstep(std::ostream* log, const aio_side& doorbells = doorbells_aio())
      : log_{log}, doorbell_{doorbells} {}

  /// @return the first difference between the sides, if there is one.
  [[nodiscard]] std::optional<std::string> run(const aio_program& program);

 private:
  struct in_flight {
    request_spec spec;
    unsigned context;
    bool certain;  // it completes without a further operation
  };

  void begin();
  void clean_up();
  void step(const operation& one);
  void finish();

  void setup(const operation& one);
  void destroy(const operation& one);
  void submit(const operation& one);
  void compare_keys(const operation& one, int taken);
  void account_for(const operation& one, int taken);
  void cancel(const operation& one);
  void get(unsigned context, unsigned count, manner how = manner::with_timeout);
  void change_source(const operation& one);

  void settle();
  void look_for_certain_ones();
  void compare_events(unsigned context);
  void compare_eventfds();
  [[nodiscard]] bool would_sleep_in_kernel(const request_spec& one) const;
  [[nodiscard]] unsigned certain(unsigned context) const;
  [[nodiscard]] std::size_t count(unsigned context) const;

  template <class Ask>
  int both(const char* what, Ask ask);
  template <class Answer>
  void compare(const char* what, const Answer& kernels, const Answer& doorbells);

  std::ostream* const log_;
  // Makes the kernel's calls, and never uses an io_uring: pending work of an io_uring interrupts the kernel's
  // io_getevents as a signal does, in each thread that has used the io_uring.
  other_thread kernels_thread_;
  aio_world kernel_{kernels_aio()};
  aio_world doorbell_;
  std::map<unsigned, in_flight> in_flight_;
  std::array<unsigned, contexts> got_{};  // events fetched of the certain requests
  std::array<std::uint64_t, efds> signals_{};
  bool writer_was_used_ = false;
  std::optional<std::string> difference_;
};

}  // namespace doorbell::test
