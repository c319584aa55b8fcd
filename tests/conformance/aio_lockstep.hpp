// SPDX-License-Identifier: Apache-2.0
//
// Runs a random program of AIO on the kernel and on doorbell, operation by operation, and compares every answer.
//
// What may differ is the order in which requests complete, and when. So it keeps book of what is certain to complete: an
// operation gets no more events than that, and waits for them; events are compared as sets once all that was certain has
// been got; what would depend on how far a request has come (to cancel one that is certain to complete, to change what it
// works on) is preceded by getting everything, or left out.
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
  /// @param log gets every operation and its answer, if it is not null.
  explicit aio_lockstep(std::ostream* log, const aio_side& doorbells = doorbells_aio())
      : log_{log}, doorbell_{doorbells} {}

  /// @return what differed, if anything did.
  [[nodiscard]] std::optional<std::string> run(const aio_program& program);

 private:
  struct in_flight {
    request_spec spec;
    unsigned context;
    bool certain;  // to complete, without anybody's doing
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
  void compare_bells();
  [[nodiscard]] bool would_sleep_in_kernel(const request_spec& one) const;
  [[nodiscard]] unsigned certain(unsigned context) const;
  [[nodiscard]] std::size_t count(unsigned context) const;

  template <class Ask>
  int both(const char* what, Ask ask);
  template <class Answer>
  void compare(const char* what, const Answer& kernels, const Answer& doorbells);

  std::ostream* const log_;
  // Work for an io_uring that a thread has used interrupts the kernel's io_getevents in that thread, like a signal.
  other_thread kernels_thread_;
  aio_world kernel_{kernels_aio()};
  aio_world doorbell_;
  std::map<unsigned, in_flight> in_flight_;
  std::array<unsigned, contexts> got_{};  // of those certain
  std::array<std::uint64_t, bells> rings_{};
  bool writer_was_used_ = false;
  std::optional<std::string> difference_;
};

}  // namespace doorbell::test
