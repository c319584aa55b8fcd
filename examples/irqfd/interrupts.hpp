// SPDX-License-Identifier: Apache-2.0
//
// interrupts: the guest's interrupt controller. Any thread may inject an interrupt; the guest's processor halts until
// there is one.
//
// It also checks the rule that this example demonstrates: an interrupt of a vector that is not assigned is counted as
// late.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include <doorbell/eventfd.hpp>

namespace irqfd {

class interrupts {
 public:
  static constexpr unsigned vectors = 32;

  /// Makes `vector` pending. May be called in callbacks: it does not sleep.
  void inject(unsigned vector) noexcept;

  /// Between expect() and expect_no_more() the vector may be injected.
  void expect(unsigned vector) noexcept { expected_.at(vector) = true; }
  void expect_no_more(unsigned vector) noexcept { expected_.at(vector) = false; }

  /// The guest's processor: sleeps until there is an interrupt, or a nudge.
  /// @return the vectors that were pending, one bit each; the call clears them.
  [[nodiscard]] std::uint32_t halt();
  /// Ends the current halt(), or the next one.
  void nudge() noexcept;

  /// The number of injections of the vector.
  [[nodiscard]] std::uint64_t count(unsigned vector) const noexcept { return counts_.at(vector); }
  [[nodiscard]] std::uint64_t total() const noexcept;
  [[nodiscard]] std::uint64_t late() const noexcept { return late_; }

 private:
  std::array<std::atomic<std::uint64_t>, vectors> counts_{};
  std::array<std::atomic<bool>, vectors> expected_{};
  std::atomic<std::uint64_t> late_{0};
  std::atomic<std::uint32_t> pending_{0};
  const doorbell::eventfd wake_;
};

}  // namespace irqfd
