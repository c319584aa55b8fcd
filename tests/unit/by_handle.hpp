// SPDX-License-Identifier: Apache-2.0
//
// An AIO context by handle, as a program that uses the kernel's calls has it.
#pragma once

#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <vector>

namespace doorbell::test {

class by_handle {
 public:
  explicit by_handle(unsigned nr) { EXPECT_EQ(aio::io_setup(nr, &handle_), 0); }
  ~by_handle() { EXPECT_EQ(aio::io_destroy(handle_), 0); }
  by_handle(const by_handle&) = delete;
  by_handle& operator=(const by_handle&) = delete;

  [[nodiscard]] int submit(std::span<aio::iocb_abi> asked) const {
    std::vector<aio::iocb_abi*> pointers;
    for (auto& each : asked) pointers.push_back(&each);
    return aio::io_submit(handle_, static_cast<long>(pointers.size()), pointers.data());
  }
  [[nodiscard]] std::vector<aio::io_event> events(std::size_t count) const {
    std::vector<aio::io_event> all(count);
    timespec patience{.tv_sec = 20, .tv_nsec = 0};
    const int got =
        aio::io_getevents(handle_, static_cast<long>(count), static_cast<long>(count), all.data(), &patience);
    all.resize(static_cast<std::size_t>(std::max(got, 0)));
    return all;
  }
  [[nodiscard]] std::int64_t result_of(aio::iocb_abi asked) const {
    const int taken = submit({&asked, 1});
    if (taken != 1) return taken;
    const auto all = events(1);
    return all.empty() ? -ETIME : all[0].res;
  }
  [[nodiscard]] aio::aio_context_t handle() const { return handle_; }

 private:
  aio::aio_context_t handle_ = 0;
};

}  // namespace doorbell::test
