// SPDX-License-Identifier: Apache-2.0
//
// limits: lowers the resource limits of this process and raises them again, and reports whether a limit was lowered
// during a call.
#pragma once

#include <sys/resource.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>

namespace doorbell::soak {

class limits {
 public:
  /// @param first_unknown all lower numbers are descriptors of the program.
  /// @param lowers_processes whether lower_one() may lower RLIMIT_NPROC.
  limits(int first_unknown, bool lowers_processes);

  /// Lowers one limit. Only one thread may call this and raise_all().
  void lower_one(std::minstd_rand& random);
  void raise_all();
  [[nodiscard]] bool are_lowered() const noexcept { return lowered_.load(std::memory_order_seq_cst) > 0; }

  /// A scope that contains a call.
  class look {
   public:
    explicit look(const limits& of) noexcept : of_{of}, change_{of.change_}, was_lowered_{of.are_lowered()} {}
    /// Whether a limit has been lowered at any time since the look began.
    [[nodiscard]] bool is_short() const noexcept { return was_lowered_ || of_.are_lowered() || of_.change_ != change_; }

   private:
    const limits& of_;
    std::uint64_t change_;
    bool was_lowered_;
  };

  /// How often each limit was lowered.
  struct counts {
    std::uint64_t descriptors = 0;
    std::uint64_t processes = 0;
    std::uint64_t locked_memory = 0;
  };
  [[nodiscard]] const counts& lowered() const noexcept { return counts_; }

  /// Whether RLIMIT_NPROC can keep this process from creating threads: it cannot for root.
  [[nodiscard]] static bool can_lack_threads();

 private:
  void lower(std::size_t which, rlim_t to);

  const int first_unknown_;
  const bool lowers_processes_;
  std::array<rlimit, 3> before_{};
  std::atomic<int> lowered_{0};
  std::atomic<std::uint64_t> change_{0};
  counts counts_;
};

}  // namespace doorbell::soak
