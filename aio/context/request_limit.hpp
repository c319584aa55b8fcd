// SPDX-License-Identifier: Apache-2.0
//
// request_limit: the maximum number of requests that all contexts of this process may reserve together. It corresponds
// to the kernel's aio-nr and aio-max-nr, but is per process: with a limit for the whole machine, one program could keep
// another from making contexts.
//
// Thread safety: all members may be called concurrently.
#pragma once

#include <cstdint>

#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

class request_limit {
 public:
  /// The limit of this process. Its maximum is DOORBELL_AIO_MAX_NR, else the value in /proc/sys/fs/aio-max-nr, else
  /// 65536.
  static request_limit& process() noexcept;

  constexpr explicit request_limit(std::uint64_t max) noexcept : max_{max} {}

  [[nodiscard]] std::uint64_t max() noexcept;
  [[nodiscard]] std::uint64_t charged() const noexcept { return charged_.load(base::memory_order_relaxed); }

  /// @return false if that would exceed the maximum; then nothing is charged.
  [[nodiscard]] bool charge(std::uint64_t requests) noexcept;
  void refund(std::uint64_t requests) noexcept { charged_.fetch_sub(requests, base::memory_order_relaxed); }
  /// For a fork's child, which has no contexts.
  void forget_all() noexcept { charged_.store(0, base::memory_order_relaxed); }

 private:
  static constexpr std::uint64_t not_known_yet = ~std::uint64_t{0};

  base::atomic<std::uint64_t> max_;
  base::atomic<std::uint64_t> charged_{0};
};

}  // namespace doorbell::aio
