// SPDX-License-Identifier: Apache-2.0
//
// doorbell's AIO through aio::context, for random programs: the calls of aio_side, as far as the class offers them.
#pragma once

#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "support/aio_sides.hpp"

namespace doorbell::test {

/// All requests must be of type aio::iocb. The class replaces each eventfd of the kernel that a request names by a
/// doorbell eventfd that forwards to it, and calls set_file() for every second request.
class context_side final : public aio_side {
 public:
  [[nodiscard]] bool is_kernel() const override { return false; }

  int setup(unsigned nr, aio::aio_context_t* handle) const override {
    if (*handle != 0) return -EINVAL;
    std::error_code ec;
    auto made = std::make_unique<aio::context>(nr, ec);
    if (ec) return -ec.value();
    *handle = made->handle();
    contexts_.insert_or_assign(*handle, std::move(made));
    return 0;
  }

  int destroy(aio::aio_context_t handle) const override {
    auto found = contexts_.extract(handle);
    if (found.empty()) return -EINVAL;
    std::error_code ec;
    found.mapped()->destroy(ec);
    return -ec.value();
  }

  int submit(aio::aio_context_t handle, long nr, aio::iocb_abi** iocbs) const override {
    auto* const context = find(handle);
    if (context == nullptr || nr < 0) return -EINVAL;
    std::vector<aio::iocb*> list;
    for (long at = 0; at < nr; ++at) {
      list.push_back(static_cast<aio::iocb*>(iocbs[at]));
      if (is_program_address(list.back())) complete(*list.back());
    }
    std::error_code ec;
    const auto taken = context->submit(list, ec);
    return ec ? -ec.value() : static_cast<int>(taken);
  }

  int cancel(aio::aio_context_t handle, aio::iocb_abi* request, aio::io_event* /*result*/) const override {
    auto* const context = find(handle);
    if (context == nullptr) return -EINVAL;
    std::error_code ec;
    context->cancel(static_cast<aio::iocb&>(*request), ec);
    return ec ? -ec.value() : -EINPROGRESS;
  }

  int getevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout) const override {
    auto* const context = find(handle);
    if (context == nullptr) return -EINVAL;
    std::error_code ec;
    const auto room = std::span{events, static_cast<std::size_t>(nr)};
    const auto time = std::chrono::seconds{timeout->tv_sec} + std::chrono::nanoseconds{timeout->tv_nsec};
    const auto got = context->get_events(static_cast<std::size_t>(min), room, time, ec);
    return ec ? -ec.value() : static_cast<int>(got.size());
  }

  int pgetevents(aio::aio_context_t handle, long min, long nr, aio::io_event* events, timespec* timeout,
                 const aio::aio_sigset* /*blocked*/) const override {
    return getevents(handle, min, nr, events, timeout);
  }

  void forget_eventfds() const override { efds_.clear(); }

 private:
  static bool is_program_address(const void* address) { return reinterpret_cast<std::intptr_t>(address) > 0; }

  [[nodiscard]] aio::context* find(aio::aio_context_t handle) const {
    const auto at = contexts_.find(handle);
    return at == contexts_.end() ? nullptr : at->second.get();
  }

  void complete(aio::iocb& request) const {
    if (request.flags & aio::iocb_abi::flag_resfd) request.set_eventfd(efd(static_cast<int>(request.resfd)));
    std::error_code ec;
    const auto facts = aio::file_facts::look_up(request.fildes, ec);
    if (!ec && ++completed_ % 2 == 0) request.set_file(facts);
  }

  const doorbell::eventfd& efd(int number) const {
    const auto [at, is_new] = efds_.try_emplace(number);
    std::error_code ec;
    if (is_new) at->second = doorbell::eventfd::forwarding_to(number, ec);
    return at->second;
  }

  mutable std::map<aio::aio_context_t, std::unique_ptr<aio::context>> contexts_;
  mutable std::map<int, doorbell::eventfd> efds_;  // by the number of the kernel's eventfd
  mutable unsigned completed_ = 0;
};

}  // namespace doorbell::test
