// SPDX-License-Identifier: Apache-2.0
//
// Runs a random program of eventfds on the kernel and on doorbell, operation by operation, and compares every result.
// For an operation that would sleep, a second thread makes the call that wakes it. The results must not depend on which
// of the two calls comes first.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <doorbell/base/unique_fd.hpp>
#include <doorbell/eventfd.hpp>

#include "answer.hpp"
#include "kernel_aio.hpp"

namespace doorbell::test {

struct eventfd_operation {
  enum class kind : std::uint8_t { create, duplicate, close, read, read_bytes, write, write_bytes, signal, poll, info };
  kind what = kind::poll;
  unsigned handle = 0;
  unsigned other = 0;       // duplicate: the handle that is replaced
  int flags = 0;            // create
  std::uint64_t value = 0;  // create, write: a count; read_bytes, write_bytes: a number of bytes
};

using eventfd_program = std::vector<eventfd_operation>;
constexpr unsigned eventfd_handles = 4;

[[nodiscard]] eventfd_program random_eventfd_program(std::uint64_t seed);
std::ostream& operator<<(std::ostream& out, const eventfd_operation& one);

class eventfd_lockstep {
 public:
  /// @param log receives every operation and its result, if not null.
  explicit eventfd_lockstep(std::ostream* log) : log_{log} {}

  /// @return the first difference between the sides, if there is one.
  [[nodiscard]] std::optional<std::string> run(const eventfd_program& program);

 private:
  using kind = eventfd_operation::kind;

  struct pair {
    base::unique_fd kernels;
    doorbell::eventfd doorbells{0};
    int flags = 0;
  };

  void step(const eventfd_operation& one);
  [[nodiscard]] bool would_sleep(const eventfd_operation& one) const;
  void step_with_waker(const eventfd_operation& one);
  [[nodiscard]] int descriptor(unsigned handle) const;
  [[nodiscard]] answer ask_kernel(const eventfd_operation& one);
  [[nodiscard]] answer ask_doorbell(const eventfd_operation& one);
  [[nodiscard]] answer create_in_kernel(const eventfd_operation& one);
  [[nodiscard]] answer create_in_doorbell(const eventfd_operation& one);
  void compare(const eventfd_operation& one, const answer& kernels, const answer& doorbells);

  std::ostream* const log_;
  kernel_aio signaller_;
  std::array<pair, eventfd_handles> handles_;
  std::optional<std::string> difference_;
};

}  // namespace doorbell::test
