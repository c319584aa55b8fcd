// SPDX-License-Identifier: Apache-2.0
//
// Rows of AIO (docs/architecture.md): each test body runs with the kernel's calls, and again with doorbell's. If
// doorbell goes beyond the kernel on purpose, the name of the test begins with beyond_, and its body has both results.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include <doorbell/aio_calls.hpp>

#include "support/aio_sides.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/ring_header.hpp"

namespace doorbell::test {

using aio::aio_context_t;
using aio::io_event;
using aio::iocb_abi;

/// @return an address in the kernel's half of the address space, which no program can access.
template <class T>
[[nodiscard]] T* kernels_address() {
  return reinterpret_cast<T*>(std::uintptr_t{0xffff800000000000});
}

/// @return the number of possible processors, not of present ones: io_setup(2) uses that number.
[[nodiscard]] inline unsigned possible_cpus() { return static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_CONF)); }

/// @return the capacity of the ring of io_setup(nr), in events. They fill the pages of the ring behind its header.
[[nodiscard]] inline unsigned ring_capacity(unsigned nr) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t events = 2 * std::size_t{std::max(nr, 4 * possible_cpus())} + 2;
  const auto pages = (sizeof(ring_header) + events * sizeof(io_event) + page - 1) / page;
  return static_cast<unsigned>((pages * page - sizeof(ring_header)) / sizeof(io_event));
}

[[nodiscard]] inline std::uint64_t number_in(const char* path) {
  std::ifstream file{path};
  std::uint64_t number = 0;
  file >> number;
  return number;
}

class aio_row : public testing::TestWithParam<std::reference_wrapper<const aio_side>> {
 protected:
  ~aio_row() override {
    for (const auto handle : contexts_) side().destroy(handle);
  }

  [[nodiscard]] static const aio_side& side() { return GetParam().get(); }
  [[nodiscard]] static bool on_kernel() { return side().is_kernel(); }
  /// @return the expected result of this side, in a row where doorbell goes beyond the kernel on purpose.
  [[nodiscard]] static int beyond(int kernels, int doorbells) { return on_kernel() ? kernels : doorbells; }

  aio_context_t new_context(unsigned nr = 8) {
    aio_context_t handle = 0;
    EXPECT_EQ(side().setup(nr, &handle), 0);
    contexts_.push_back(handle);
    return handle;
  }
  int destroy(aio_context_t handle) {
    std::erase(contexts_, handle);
    return side().destroy(handle);
  }
  /// Records that the handle of a context has changed to `to`, or that it must not be destroyed any more if `to` is 0.
  void moved(aio_context_t from, aio_context_t to) {
    std::erase(contexts_, from);
    if (to != 0) contexts_.push_back(to);
  }

  static int submit(aio_context_t handle, std::vector<iocb_abi*> requests) {
    return side().submit(handle, static_cast<long>(requests.size()), requests.data());
  }
  static int submit(aio_context_t handle, iocb_abi& request) { return submit(handle, std::vector{&request}); }

  /// Calls io_getevents for a test that sends no signals. The call is repeated after -EINTR: the destruction of an
  /// io_uring that this thread has used, in an earlier test of doorbell, interrupts the kernel's io_getevents as a
  /// signal does.
  static int getevents(aio_context_t handle, long min, long nr, io_event* events, timespec* timeout) {
    for (;;) {
      const int answer = side().getevents(handle, min, nr, events, timeout);
      if (answer != -EINTR) return answer;
    }
  }
  /// @return the events that are available now.
  static std::vector<io_event> events_there(aio_context_t handle, long most = 64) {
    timespec no_wait{};
    return got(handle, 0, most, &no_wait);
  }
  /// @return `count` events. Waits for them: the test must have submitted that many requests that complete.
  static std::vector<io_event> events(aio_context_t handle, long count) {
    auto events = got(handle, count, count, nullptr);
    EXPECT_EQ(events.size(), static_cast<std::size_t>(count));
    events.resize(static_cast<std::size_t>(count));
    return events;
  }
  static std::int64_t result(aio_context_t handle) { return events(handle, 1).front().res; }
  /// @return the result of a poll, reduced to the events `asked`: the kernel reports all events of the wakeup, whether
  /// they were requested or not.
  static std::int64_t result(aio_context_t handle, short asked) { return result(handle) & asked; }
  /// @return the result of a request that io_submit must accept.
  static std::int64_t result_of(aio_context_t handle, iocb_abi request) {
    EXPECT_EQ(submit(handle, request), 1);
    const auto event = events(handle, 1).front();
    EXPECT_EQ(static_cast<iocb_abi*>(event.obj), &request);
    return event.res;
  }
  /// @return the result of io_submit. Waits for an accepted request, because the caller may then free its buffers.
  static int answer_to(aio_context_t handle, iocb_abi request) {
    const int answer = submit(handle, request);
    if (answer == 1) result(handle);
    return answer;
  }

  /// @return a read with its own buffer, because concurrent reads into one buffer would be a data race.
  iocb_abi read_of(int fd) {
    auto& room = read_into_.emplace_back();
    return aio::prep_pread(fd, room.data(), room.size(), 0);
  }
  iocb_abi file_read() { return read_of(file_.get()); }
  /// @return the request as a write, many of which may be in flight concurrently with one buffer.
  static iocb_abi as_write(iocb_abi request) {
    request.lio_opcode = static_cast<std::uint16_t>(aio::opcode::pwrite);
    return request;
  }
  iocb_abi poll_of_pipe(short mask = POLLIN) {
    return aio::prep_poll(pipe_.read.get(), static_cast<std::uint16_t>(mask));
  }
  void fill_pipe() { EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1); }
  static iocb_abi with_resfd(iocb_abi request, int efd) {
    request.flags |= iocb_abi::flag_resfd;
    request.resfd = static_cast<std::uint32_t>(efd);
    return request;
  }

  base::unique_fd file_ = doorbell::test::temporary_file("hello, world");
  doorbell::test::pipe_ends pipe_;
  std::array<char, 64> text_{};
  std::deque<std::array<char, 5>> read_into_;

 private:
  static std::vector<io_event> got(aio_context_t handle, long min, long nr, timespec* timeout) {
    std::vector<io_event> events(static_cast<std::size_t>(nr));
    const int count = getevents(handle, min, nr, events.data(), timeout);
    EXPECT_GE(count, 0);
    events.resize(static_cast<std::size_t>(std::max(count, 0)));
    return events;
  }

  std::vector<aio_context_t> contexts_;
};

[[nodiscard]] inline std::string name_of_side(const testing::TestParamInfo<aio_row::ParamType>& info) {
  return info.param.get().is_kernel() ? "kernel" : "doorbell";
}

/// Runs the rows of a fixture against the kernel and against doorbell.
#define ON_BOTH_SIDES(fixture)                                                                                   \
  INSTANTIATE_TEST_SUITE_P(both, fixture, testing::Values(std::cref(kernels_aio()), std::cref(doorbells_aio())), \
                           name_of_side)

}  // namespace doorbell::test
