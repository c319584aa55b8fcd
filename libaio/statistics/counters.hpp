// SPDX-License-Identifier: Apache-2.0
//
// counters: the calls and requests that a process made, and their results.
//
// Thread safety: all members may be called concurrently. Each number is exact, but two numbers need not be of the same
// moment.
#pragma once

#include <boost/histogram.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "../../aio/request/request_observer.hpp"

namespace doorbell::libaio {

/// The calls that are one system call each with the kernel's AIO.
enum class call : std::uint8_t { setup, destroy, submit, cancel, getevents };
constexpr std::size_t calls = 5;

/// The numbers that a report has. The assertion in report.cpp fails if one is added.
struct counted_numbers {
  using number = std::atomic<std::uint64_t>;
  static constexpr std::size_t opcodes = 9;  // the number of opcodes in the kernel
  static constexpr std::size_t errnos = 134;
  static constexpr std::size_t answerers = 4;

  struct {
    number made{0};
    std::atomic<std::int64_t> open{0};
    number most{0};
  } contexts;
  std::array<number, opcodes> requests{};
  number bytes_read{0};
  number bytes_written{0};
  std::array<number, answerers> answers_by{};  // by answered_by
  number cancelled{0};
  std::array<number, errnos> failed{};  // failed requests by errno, except cancelled ones
  std::atomic<std::int64_t> in_flight{0};
  number most_in_flight{0};
  number longest_ns{0};
  std::array<std::array<number, errnos>, calls> refused{};  // by call and errno
  number kernel_calls{0};                                   // system calls that the kernel's AIO would have needed
};

class counters final : public aio::request_observer, public counted_numbers {
 public:
  /// Counts a call and its result. @param needs_the_kernel false if libaio makes no system call for it.
  void called(call which, int answer, bool needs_the_kernel) noexcept;

  void taken(const aio::iocb_abi& what) noexcept override;
  void given_back(const aio::iocb_abi& what) noexcept override;
  void answered(const aio::iocb_abi& what, std::int64_t res, answered_by by, clock::duration after) noexcept override;

  /// Sets everything to its initial value, in a child of fork(2): its parent's requests are not its own.
  void reset() noexcept;

  /// A process and its descendants by fork(2) are a family, which shares whether any of them has made a call.
  /// expect_child() is called before a fork.
  void expect_child() noexcept;
  /// Called when this process ends, or becomes another program. @return whether it is the last one of the family, and
  /// none has made a call.
  bool leave_family() noexcept;
  /// Called when this process has failed to become another program.
  void return_to_family() noexcept { expect_child(); }

  [[nodiscard]] bool is_empty() const noexcept { return contexts.made == 0 && refused_calls() == 0; }
  /// @param part from 0 to 1.
  /// @return the time within which this part of the requests was answered, rounded up by at most 2%.
  [[nodiscard]] std::chrono::nanoseconds latency(double part) const;

 private:
  using bin = boost::histogram::accumulators::count<std::uint64_t, true>;  // true: may be counted concurrently
  using log_axis = boost::histogram::axis::regular<double, boost::histogram::axis::transform::log>;

  struct family {
    std::atomic<bool> has_called{false};
    std::atomic<int> processes{1};
  };
  [[nodiscard]] static family& make_family() noexcept;
  [[nodiscard]] std::uint64_t refused_calls() const noexcept;

  family& family_ = make_family();  // in memory that children share, if it could be mapped

  // From 10 ns to 1000 s, 110 bins for each power of ten.
  boost::histogram::histogram<std::tuple<log_axis>, boost::histogram::dense_storage<bin>> latencies_{
      std::tuple{log_axis{1210, 10.0, 1e12}}};
};

/// The counters of the process, if its environment requests statistics; otherwise null.
[[nodiscard]] counters* counting() noexcept;

/// Around execve(2), which returns only if it fails. Async-signal-safe; has no effect in a child of vfork(2).
class becoming_another_program {
 public:
  becoming_another_program() noexcept;
  ~becoming_another_program();
  becoming_another_program(const becoming_another_program&) = delete;
  becoming_another_program& operator=(const becoming_another_program&) = delete;

 private:
  counters* const counts_;
};

}  // namespace doorbell::libaio
