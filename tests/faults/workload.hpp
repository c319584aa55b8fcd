// SPDX-License-Identifier: Apache-2.0
//
// workload: requests of each kind on one context by handle, and the oracles for their results.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include <doorbell/aio_calls.hpp>
#include <doorbell/base/unique_fd.hpp>

#include "fault_plan.hpp"
#include "support/files.hpp"

namespace doorbell::test {

class workload {
 public:
  enum class manner {
    strict,  ///< nothing fails: each request is accepted, and has the expected result
    faulty,  ///< calls may be refused, and requests may end with an error
  };

  /// @param injected the error with which system calls fail, which requests may report.
  workload(fault_state& state, int injected);

  /// Creates the context.
  /// @return the result of io_setup.
  [[nodiscard]] int set_up();
  /// Submits requests of each kind. All complete, except one that waits until the context is destroyed.
  void run(manner how);
  /// Destroys the context. Afterwards each accepted request has completed.
  void destroy();

 private:
  static constexpr std::size_t size = 4096;
  using block = std::array<char, size>;

  struct op {
    const char* name;
    aio::iocb_abi what;
    std::int64_t expected;
    enum class state { unsubmitted, refused, accepted, answered } now = state::unsubmitted;
    std::int64_t res = 0;
  };

  template <class Call>
  int inside(Call call);
  void write_files(manner how);
  void read_files(manner how);
  void wait_and_cancel(manner how);

  op& make(const char* name, const aio::iocb_abi& what, std::int64_t expected);
  op& make_signalling(const char* name, const aio::iocb_abi& what, std::int64_t expected);
  void submit(std::vector<op*> ops, manner how);
  void await(const std::vector<op*>& ops, manner how);
  void take_events(long min, std::int64_t milliseconds);
  void take(const aio::io_event& event);
  void expect_result(const op& done, manner how) const;
  void expect_signals();
  void note_signals();
  static void expect_content(const op& done, int fd, off_t from, const char* memory);
  [[noreturn]] void give_up(const char* why, const std::vector<op*>& ops) const;

  fault_state& state_;
  const int injected_;
  aio::aio_context_t handle_ = 0;
  base::unique_fd cached_;
  base::unique_fd direct_;
  base::unique_fd memory_;
  base::unique_fd resfd_;
  pipe_ends read_pipe_;
  pipe_ends poll_pipe_;
  pipe_ends idle_pipe_;
  std::deque<op> ops_;
  alignas(size) block direct_block_{};
  alignas(size) block direct_read_{};
  block written_{};
  std::array<block, 4> read_{};
  char byte_ = 0;
  char idle_byte_ = 0;
  char fill_ = 'a';
  std::uint64_t signals_ = 0;  // of the eventfd
};

}  // namespace doorbell::test
