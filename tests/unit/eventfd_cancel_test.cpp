// SPDX-License-Identifier: Apache-2.0
//
// pthread_cancel(3) of a thread that uses eventfds.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>
#include <pthread.h>

#include <fcntl.h>

#include <array>
#include <chrono>
#include <system_error>
#include <thread>

#include <doorbell/notifier.hpp>

#include "support/fds.hpp"

namespace {

using doorbell::eventfd;
using doorbell::notifier;
using doorbell::test::give;
using doorbell::test::kernel_eventfd;
using doorbell::test::unique_fd;
using namespace std::chrono_literals;

/// Files that are opened before the thread is cancelled: open(2) and write(2) are cancellation points.
struct program_files {
  program_files() {
    give(full.get(), eventfd::max - 2);
    give(full_and_blocking.get(), eventfd::max - 2);
  }
  const unique_fd there = kernel_eventfd();
  const unique_fd full = kernel_eventfd();
  const unique_fd full_and_blocking = kernel_eventfd(0, 0);
  const unique_fd other_file{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
};

struct named_call {
  const char* name;
  void (*call)(const program_files& files);
};

constexpr std::array calls_with_cancellation_points{
    named_call{"poll_fd, and the close of an eventfd that has one",
               [](const program_files&) {
                 const eventfd efd;
                 efd.poll_fd();
                 efd.signal();
                 efd.read();
               }},
    named_call{"a forwarding that is begun, stopped and refused",
               [](const program_files& files) {
                 const eventfd efd{3};
                 efd.forward_to(files.there.get());
                 efd.signal();
                 efd.stop_forwarding();
                 std::error_code ec;
                 efd.forward_to(files.other_file.get(), ec);
               }},
    named_call{"signals into an eventfd that is full",
               [](const program_files& files) {
                 const auto efd = eventfd::forwarding_to(files.full.get());
                 efd.signal(1);
                 efd.signal(4);
                 efd.signal(1);
               }},
    named_call{"signals into a blocking eventfd that is full",
               [](const program_files& files) {
                 const auto efd = eventfd::forwarding_to(files.full_and_blocking.get());
                 efd.signal(1);
                 efd.signal(4);
                 efd.signal(1);
               }},
    named_call{"reads and writes that sleep",
               [](const program_files&) {
                 const eventfd efd;
                 std::error_code ec;
                 efd.read_for(1ms, ec);
                 efd.write(eventfd::max);
                 efd.write_for(1, 1ms, ec);
               }},
    named_call{"a notifier that drains",
               [](const program_files&) {
                 const eventfd efd;
                 const notifier watch{efd, [](auto& ctx) { ctx.drain(); }};
                 efd.poll_fd();
                 efd.signal();
               }},
};

// Oracle: a thread whose cancellation is pending before its call completes the call, and ends at pthread_testcancel(3).
// Most functions of the library are noexcept, so a cancellation point inside one of them would end the process.
TEST(cancellation, a_pending_cancellation_has_no_effect_inside_a_call) {
  for (const auto& [name, call] : calls_with_cancellation_points) {
    SCOPED_TRACE(name);
    const program_files files;
    bool has_returned = false;
    bool has_passed_the_end = false;
    std::thread{[&] {
      ::pthread_cancel(::pthread_self());
      call(files);
      has_returned = true;
      ::pthread_testcancel();
      has_passed_the_end = true;
    }}.join();
    EXPECT_TRUE(has_returned);
    EXPECT_FALSE(has_passed_the_end);
  }
}

}  // namespace
