// SPDX-License-Identifier: Apache-2.0
//
// Kernel eventfds that a program has made: how they are distinguished from other files, and how counts are added
// without waiting.
#include "../../eventfd/kernel_eventfd.hpp"

#include <gtest/gtest.h>
#include <linux/aio_abi.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "../../eventfd/eventfd_recognition.hpp"
#include "../../eventfd/fdinfo.hpp"
#include "support/child.hpp"
#include "support/fds.hpp"
#include "support/file_kinds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"
#include "support/restricted.hpp"

DOORBELL_TEST_FORKS

namespace {

using doorbell::answers_as_eventfd;
using doorbell::is_eventfd;
using doorbell::is_eventfd_by_fdinfo;
using doorbell::test::in_child;
using doorbell::test::kernel_eventfd;
using doorbell::test::take;
using doorbell::test::unique_fd;

constexpr std::uint64_t most = UINT64_MAX - 1;

std::error_code error_of_opening(int fd) {
  doorbell::kernel_eventfd opened;
  std::error_code ec;
  const bool is_open = opened.open(fd, ec);
  EXPECT_EQ(is_open, !ec);
  return ec;
}

/// Reads the count until nothing is left. @return the sum.
std::uint64_t all_of(const unique_fd& fd) {
  std::uint64_t sum = 0;
  while (doorbell::test::readable(fd.get())) sum += take(fd.get());
  return sum;
}

TEST(eventfd_recognition, recognizes_eventfds_in_each_state_by_both_methods) {
  for (const auto& [name, fd] : doorbell::test::eventfds()) {
    EXPECT_TRUE(answers_as_eventfd(fd.get())) << name;
    EXPECT_TRUE(is_eventfd_by_fdinfo(fd.get())) << name;
  }
}

TEST(eventfd_recognition, rejects_every_other_file) {
  const doorbell::test::other_files others;
  EXPECT_GE(others.all().size(), 15U);
  for (const auto& [name, fd] : others.all()) {
    EXPECT_FALSE(answers_as_eventfd(fd.get())) << name;
    EXPECT_FALSE(is_eventfd_by_fdinfo(fd.get())) << name;
    EXPECT_EQ(error_of_opening(fd.get()), std::errc::invalid_argument) << name;
  }
}

TEST(eventfd_recognition, needs_no_privileges) {
  for (const auto& [name, apply] : doorbell::test::restrictions)
    in_child([&, restrict_process = apply] {
      const doorbell::test::other_files others;
      const auto eventfds = doorbell::test::eventfds();
      if (!restrict_process()) return;
      for (const auto& [kind, fd] : others.all()) EXPECT_FALSE(is_eventfd(fd.get())) << kind;
      for (const auto& [kind, fd] : eventfds) EXPECT_TRUE(is_eventfd(fd.get())) << kind;
    });
}

// Oracle: fdinfo recognizes an eventfd, and no other file, if a sandbox refuses one of the calls of the first check.
TEST(eventfd_recognition, works_in_a_sandbox_that_refuses_ioctl) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "needs seccomp(2)";
  in_child([] {
    const doorbell::test::other_files others;
    const auto eventfds = doorbell::test::eventfds();
    doorbell::test::refuse(SYS_ioctl, EPERM);
    for (const auto& [name, fd] : eventfds) {
      EXPECT_FALSE(answers_as_eventfd(fd.get())) << name;
      EXPECT_TRUE(is_eventfd(fd.get())) << name;
      EXPECT_FALSE(error_of_opening(fd.get())) << name;
    }
    for (const auto& [name, fd] : others.all()) EXPECT_FALSE(is_eventfd(fd.get())) << name;
  });
}

TEST(eventfd_recognition, opens_no_descriptor_that_programs_inherit) {
  const auto fd = kernel_eventfd();
  const auto info = doorbell::open_fdinfo(fd.get());
  if (!info) GTEST_SKIP() << "there is no fdinfo";
  EXPECT_EQ(::fcntl(info.get(), F_GETFD), FD_CLOEXEC);
}

// The kernel, too, refuses an O_PATH descriptor for each operation that needs an open file.
TEST(eventfd_recognition, reports_a_path_as_a_bad_descriptor) {
  const unique_fd path{::open("/", O_PATH | O_CLOEXEC)};
  EXPECT_EQ(error_of_opening(path.get()), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of_opening(-1), std::errc::bad_file_descriptor);
}

// Oracle: the check adds no count, no byte and no event; files keep their size and their position.
TEST(eventfd_recognition, changes_nothing) {
  for (const auto& [name, fd] : doorbell::test::eventfds()) {
    const auto before = doorbell::test::polled(fd.get());
    const unique_fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event edges{};
    edges.events = EPOLLIN | EPOLLOUT | EPOLLET;
    ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &edges), 0);
    ASSERT_EQ(::epoll_wait(epoll.get(), &edges, 1, 0), 1) << name;
    EXPECT_TRUE(is_eventfd(fd.get()));
    EXPECT_EQ(::epoll_wait(epoll.get(), &edges, 1, 0), 0) << name << ": an edge, though nothing was signalled";
    EXPECT_EQ(doorbell::test::polled(fd.get()), before) << name;
  }
  const doorbell::test::other_files others;
  std::vector<unsigned> before;
  for (const auto& each : others.all()) before.push_back(doorbell::test::polled(each.fd.get()));
  for (const auto& each : others.all()) EXPECT_FALSE(is_eventfd(each.fd.get())) << each.name;
  for (std::size_t n = 0; n < before.size(); ++n)
    EXPECT_EQ(doorbell::test::polled(others.all()[n].fd.get()), before[n]) << others.all()[n].name;
  struct stat status{};
  ASSERT_EQ(::fstat(others.all().front().fd.get(), &status), 0);
  EXPECT_EQ(status.st_size, 4);
}

// Oracle: the count is the number in the line, in base 16; no other text has a count.
TEST(eventfd_recognition, reads_the_count_from_the_text_of_an_eventfd_only) {
  const auto count_in = [](const std::string& text) {
    return doorbell::read_eventfd_count(doorbell::test::temporary_file(text).get());
  };
  EXPECT_EQ(count_in("pos:\t0\neventfd-count:               1f\neventfd-id: 3\n"), 31U);
  EXPECT_EQ(count_in("eventfd-count: 0\n"), 0U);
  EXPECT_EQ(count_in("eventfd-count: fffffffffffffffe"), most);
  for (const auto* const text : {"", "pos:\t0\nflags:\t02\n", "eventfd-count:", "eventfd-count: \t", "eventfd-count: x",
                                 "eventfd-count: 10000000000000000"})
    EXPECT_EQ(count_in(text), std::nullopt) << text;
  EXPECT_EQ(doorbell::read_eventfd_count(-1), std::nullopt);
}

/// Runs each test with /proc, and without.
class kernel_eventfd_add : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!GetParam() && !doorbell::test::can_lose_proc()) GTEST_SKIP() << "chroot(2) is refused";
  }

  /// Calls body(flags) for eventfds of each kind, in a child that has /proc or does not have it.
  template <class Body>
  static void for_each_kind(Body body) {
    in_child([&] {
      if (!GetParam()) {
        ASSERT_TRUE(doorbell::test::lose_proc());
      }
      for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)}) body(flags);
    });
  }

  struct opened : doorbell::kernel_eventfd {
    explicit opened(const unique_fd& fd) {
      std::error_code ec;
      EXPECT_TRUE(open(fd.get(), ec)) << ec.message();
    }
  };
};

// Oracle: of each amount, exactly as much is added as there is room for, and the call returns.
TEST_P(kernel_eventfd_add, adds_as_much_as_there_is_room_for) {
  for_each_kind([](int flags) {
    for (const std::uint64_t room : {0U, 1U, 2U, 3U, 7U, 8U, 64U, 65U, 100U})
      for (const std::uint64_t n : {1U, 2U, 3U, 5U, 8U, 13U, 64U, 99U, 100U, 101U}) {
        const auto fd = kernel_eventfd(0, flags);
        ASSERT_TRUE(doorbell::test::give(fd.get(), most - room));
        opened there{fd};
        EXPECT_EQ(there.add(n), std::min(n, room)) << n << " of " << room;
        EXPECT_EQ(all_of(fd), most - room + std::min(n, room));
      }
  });
}

TEST_P(kernel_eventfd_add, adds_to_a_count_of_0) {
  for_each_kind([](int flags) {
    const auto fd = kernel_eventfd(0, flags);
    opened there{fd};
    for (const std::uint64_t n : {1U, 2U, 64U, 1000U}) {
      EXPECT_EQ(there.add(n), n);
      EXPECT_EQ(take(fd.get()), n);
    }
  });
}

// Oracle: a count that is too large to be added in steps of one is added in parts, and the sum of the parts is the
// count.
TEST_P(kernel_eventfd_add, adds_a_large_count_in_a_few_calls) {
  for_each_kind([](int flags) {
    const auto fd = kernel_eventfd(0, flags);
    opened there{fd};
    const std::uint64_t large = 5000;
    std::uint64_t added = 0;
    if (GetParam()) {
      EXPECT_EQ(there.add(large), large) << "with /proc, one call adds all that fits";
      EXPECT_EQ(take(fd.get()), large);
    }
    for (int calls = 0; added < large && calls < 10; ++calls) added += there.add(large - added);
    EXPECT_EQ(added, large);
    EXPECT_EQ(take(fd.get()), large);
  });
}

INSTANTIATE_TEST_SUITE_P(, kernel_eventfd_add, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "with_proc" : "without_proc"; });

// The library reads the room in an eventfd from fdinfo, a file in /proc that belongs to the thread that opened it.
TEST(kernel_eventfd, adds_after_the_thread_that_added_first_has_ended) {
  const auto fd = kernel_eventfd(0, 0);
  ASSERT_TRUE(doorbell::test::give(fd.get(), most - 8));
  doorbell::kernel_eventfd opened;
  std::error_code ec;
  ASSERT_TRUE(opened.open(fd.get(), ec));
  std::thread{[&] { EXPECT_EQ(opened.add(3), 3U); }}.join();
  EXPECT_EQ(opened.add(10), 5U);
  EXPECT_EQ(take(fd.get()), most);
}

/// Lets the kernel's AIO signal a full eventfd: the count is then one more than write(2) can make it.
bool saturate(const unique_fd& fd) {
  const auto file = doorbell::test::temporary_file("text");
  std::array<char, 4> buffer{};
  iocb read{};
  read.aio_lio_opcode = IOCB_CMD_PREAD;
  read.aio_fildes = static_cast<std::uint32_t>(file.get());
  read.aio_buf = reinterpret_cast<std::uintptr_t>(buffer.data());
  read.aio_nbytes = buffer.size();
  read.aio_flags = IOCB_FLAG_RESFD;
  read.aio_resfd = static_cast<std::uint32_t>(fd.get());
  iocb* const one = &read;
  io_event done{};
  aio_context_t context = 0;
  if (::syscall(SYS_io_setup, 1, &context) != 0) return false;
  const bool is_done = ::syscall(SYS_io_submit, context, 1, &one) == 1 &&
                       ::syscall(SYS_io_getevents, context, 1, 1, &done, nullptr) == 1;
  ::syscall(SYS_io_destroy, context);
  return is_done && (doorbell::test::polled(fd.get()) & POLLERR) != 0;
}

// Oracle: nothing is added, and the call returns: poll(2) reports an error, and no room.
TEST(kernel_eventfd, adds_nothing_to_a_count_that_the_kernel_has_saturated) {
  for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)})
    for (const std::uint64_t n : {1U, 2U}) {
      const auto fd = kernel_eventfd(0, flags);
      ASSERT_TRUE(doorbell::test::give(fd.get(), most));
      if (!saturate(fd)) GTEST_SKIP() << "the kernel has no AIO";
      doorbell::kernel_eventfd opened;
      std::error_code ec;
      ASSERT_TRUE(opened.open(fd.get(), ec));
      EXPECT_FALSE(opened.has_room());
      EXPECT_EQ(opened.add(n), 0U);
      EXPECT_EQ(take(fd.get()), UINT64_MAX);
      EXPECT_EQ(opened.add(n), n);
    }
}

// Oracle: the library does not read a file that the program has put at the number of the library's descriptor of a
// file in /proc.
TEST(kernel_eventfd, does_not_read_a_file_that_replaced_its_own) {
  const auto fd = kernel_eventfd(0, 0);
  const auto text = doorbell::test::temporary_file("eventfd-count: fffffffffffffffe\n");
  doorbell::kernel_eventfd opened;
  std::error_code ec;
  ASSERT_TRUE(opened.open(fd.get(), ec));
  EXPECT_EQ(opened.add(2), 2U);
  std::vector<unique_fd> programs;
  for (int number = doorbell::base::private_fd::lowest_number(); number < 1024; ++number) {
    struct stat status{};
    if (number == opened.descriptor().get() || ::fstat(number, &status) != 0 || !S_ISREG(status.st_mode)) continue;
    ASSERT_EQ(::dup3(text.get(), number, O_CLOEXEC), number);
    programs.emplace_back(number);
  }
  EXPECT_EQ(programs.size(), 1U);
  EXPECT_EQ(opened.add(2), 2U);
  EXPECT_EQ(take(fd.get()), 4U);
}

// Oracle: the file that the program has put at the number of the library's descriptor of a file in /proc is open and
// unread after the library has dropped that descriptor.
TEST(kernel_eventfd, does_not_close_a_file_that_replaced_its_own) {
  const auto fd = kernel_eventfd(0, 0);
  const auto other = kernel_eventfd(5, 0);
  std::vector<unique_fd> programs;
  {
    doorbell::kernel_eventfd opened;
    std::error_code ec;
    ASSERT_TRUE(opened.open(fd.get(), ec));
    EXPECT_EQ(opened.add(2), 2U);
    for (int number = doorbell::base::private_fd::lowest_number(); number < 1024; ++number) {
      if (number == opened.descriptor().get() || !doorbell::test::is_open(number)) continue;
      // Skips files that the library keeps for the whole process.
      struct stat status{};
      if (::fstat(number, &status) != 0 || !S_ISREG(status.st_mode)) continue;
      ASSERT_EQ(::dup3(other.get(), number, O_CLOEXEC), number);
      programs.emplace_back(number);
    }
    EXPECT_EQ(programs.size(), 1U);
    EXPECT_EQ(opened.add(2), 2U);
  }
  for (const auto& each : programs) EXPECT_TRUE(doorbell::test::is_open(each.get()));
  EXPECT_EQ(take(other.get()), 5U);
  EXPECT_EQ(take(fd.get()), 4U);
}

}  // namespace
