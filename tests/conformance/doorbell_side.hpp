// SPDX-License-Identifier: Apache-2.0
//
// doorbell's eventfd with the interface of kernel_side.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "answer.hpp"

namespace doorbell::test {

class doorbell_side {
 public:
  explicit doorbell_side(unsigned initial = 0, int flags = 0) : efd_(initial, flags) {}

  [[nodiscard]] static answer create(unsigned initial, int flags) {
    std::error_code ec;
    const eventfd made{initial, flags, ec};
    return told(0, ec);
  }

  [[nodiscard]] doorbell_side duplicate() const { return *this; }
  void close() { efd_.close(); }

  [[nodiscard]] answer read() const {
    std::error_code ec;
    const auto count = efd_.read(ec);
    return told(count, ec);
  }
  [[nodiscard]] answer read_bytes(std::size_t size) const {
    std::array<std::byte, 64> bytes{};
    std::error_code ec;
    const auto read = efd_.read(std::span{bytes}.first(size), ec);
    return told(read, ec);
  }
  [[nodiscard]] answer write(std::uint64_t n) const {
    std::error_code ec;
    efd_.write(n, ec);
    return told(sizeof n, ec);
  }
  [[nodiscard]] answer write_bytes(std::size_t size) const {
    const std::array<std::byte, 64> bytes{};
    std::error_code ec;
    const auto written = efd_.write(std::span{bytes}.first(size), ec);
    return told(written, ec);
  }
  [[nodiscard]] unsigned poll() const { return efd_.poll(); }

  [[nodiscard]] static bool can_signal() { return true; }
  void signal() const { efd_.signal(); }

  /// Signals `to` from a callback inside the next wake walk of `from`.
  class chain {
   public:
    chain(const doorbell_side& from, const doorbell_side& to)
        : watcher_{from.efd_, [this, to = to.efd_](auto&) {
                     if (std::exchange(done_, true)) return;
                     to.signal();
                   }} {}

   private:
    bool done_ = false;
    notifier watcher_;
  };

  /// @return how often `call` wakes a waiter for POLLIN.
  template <class Call>
  [[nodiscard]] int pollin_wakes(Call call) const {
    int wakes = 0;
    const notifier watcher{efd_, [&](auto&) { ++wakes; }};
    call();
    return wakes;
  }

  [[nodiscard]] std::uint64_t count() const { return efd_.info().count; }
  [[nodiscard]] std::uint64_t id() const { return efd_.info().id; }
  [[nodiscard]] bool semaphore() const { return efd_.info().semaphore; }

  [[nodiscard]] static bool refuses_long_writes() { return true; }
  [[nodiscard]] static bool tells_semaphore() { return true; }

  /// @return the eventfd, for operations that the kernel does not offer to programs.
  [[nodiscard]] eventfd& efd() { return efd_; }

 private:
  [[nodiscard]] static answer told(std::uint64_t value, const std::error_code& ec) {
    return ec ? fails(ec.value()) : succeeds(value);
  }

  eventfd efd_;
};

}  // namespace doorbell::test
