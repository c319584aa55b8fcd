// SPDX-License-Identifier: Apache-2.0
//
// request_limit: how many requests the contexts of this process may ask for altogether: the kernel's aio-nr and
// aio-max-nr, but for this process alone, as the machine-wide limit makes one program's contexts another's outage.
//
// Thread safety: all, at once.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

class request_limit {
 public:
  /// The one of this process, whose maximum is DOORBELL_AIO_MAX_NR, else what /proc/sys/fs/aio-max-nr says, else 65536.
  static request_limit& process() noexcept;

  constexpr explicit request_limit(std::uint64_t max) noexcept : max_{max} {}

  [[nodiscard]] std::uint64_t max() noexcept;
  [[nodiscard]] std::uint64_t charged() const noexcept { return charged_.load(base::memory_order_relaxed); }

  /// @return false when that would be too many, and nothing has been charged.
  [[nodiscard]] bool charge(std::uint64_t requests) noexcept;
  void refund(std::uint64_t requests) noexcept { charged_.fetch_sub(requests, base::memory_order_relaxed); }
  /// In a fork's child, which has no contexts.
  void forget_all() noexcept { charged_.store(0, base::memory_order_relaxed); }

 private:
  static constexpr std::uint64_t not_known_yet = ~std::uint64_t{0};

  base::atomic<std::uint64_t> max_;
  base::atomic<std::uint64_t> charged_{0};
};

}  // namespace doorbell::aio
