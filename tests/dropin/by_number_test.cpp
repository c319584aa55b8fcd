// SPDX-License-Identifier: Apache-2.0
//
// Programs that do not use libaio: they make the calls of the kernel's AIO, and other system calls, by syscall(2).
#include "by_number.hpp"

#include <doorbell/base/unique_fd.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "support/files.hpp"

namespace {

using doorbell::base::unique_fd;
using doorbell::test::temporary_file;
namespace by_number = doorbell::test::by_number;

constexpr int errno_before = 4242;  // no call sets this value

/// A context for a scope.
class context {
 public:
  explicit context(unsigned nr = 8) { EXPECT_EQ(by_number::setup(nr, handle_), 0); }
  ~context() { by_number::destroy(handle_); }
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  operator aio_context_t() const { return handle_; }  // NOLINT(google-explicit-constructor): it stands for its handle

 private:
  aio_context_t handle_ = 0;
};

std::string text_of(std::size_t bytes) {
  std::string made(bytes, '\0');
  std::uint64_t state = 1;
  for (auto& each : made) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    each = static_cast<char>(state >> 56);
  }
  return made;
}

/// Makes the calls of nginx's AIO module. The module submits reads one by one. Each read signals an eventfd in an
/// epoll. When the eventfd is readable, the module gets as many events as its count, up to 64 in a call, without
/// waiting. It may get an event before the eventfd is signalled for that event; then the count is greater than the
/// number of events.
class nginx_aio {
 public:
  explicit nginx_aio(unsigned requests) : context_{requests} {
    epoll_event wanted{.events = EPOLLIN | EPOLLET, .data = {.fd = efd_.get()}};
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, efd_.get(), &wanted), 0);
  }

  bool read(iocb& request) {
    request.aio_flags = IOCB_FLAG_RESFD;
    request.aio_resfd = static_cast<std::uint32_t>(efd_.get());
    return by_number::submit(context_, request) == 1;
  }

  /// One round of the loop: waits for the eventfd. @return how many reads have completed, or -1 if a call failed.
  template <class Completed>
  int round(Completed completed) {
    epoll_event event{};
    if (::epoll_wait(epoll_.get(), &event, 1, 20'000) != 1) return -1;
    std::uint64_t ready = 0;
    if (::read(efd_.get(), &ready, sizeof ready) != sizeof ready) return -1;
    signals_ += ready;
    int fetched = 0;
    while (ready > 0) {
      std::array<io_event, 64> events{};
      timespec no_time{};
      const int got = by_number::get_events(context_, 1, events.size(), events.data(), &no_time);
      if (got <= 0) return got == 0 ? fetched : -1;
      ready -= static_cast<std::uint64_t>(got);
      fetched += got;
      for (int n = 0; n < got; ++n) completed(events[static_cast<std::size_t>(n)]);
    }
    return fetched;
  }

  /// How often the eventfd has been signalled.
  [[nodiscard]] std::uint64_t signals() const { return signals_; }

 private:
  std::uint64_t signals_ = 0;
  context context_;
  unique_fd efd_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  unique_fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
};

// Oracle: every read completes once, with the file's bytes, and signals the eventfd once.
void read_a_file_as_nginx_does(int flags) {
  constexpr std::size_t block = 4096;
  constexpr std::size_t blocks = 64;
  constexpr std::size_t rounds = 20;
  constexpr std::size_t depth = 32;
  const auto text = text_of(block * blocks);
  const auto file = temporary_file(text);
  ASSERT_EQ(::fsync(file.get()), 0);
  const unique_fd direct{::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDONLY | O_CLOEXEC | flags)};
  if (!direct) GTEST_SKIP() << "the file system has no O_DIRECT";
  nginx_aio loop{depth};
  struct alignas(block) page {
    std::array<char, block> bytes;
  };
  std::vector<page> pages(depth);
  std::vector<iocb> requests(depth);
  std::size_t right = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t n = 0; n < depth; ++n) {
      const auto at = (round * 7 + n * 3) % blocks * block;
      requests[n] = by_number::read_of(direct.get(), &pages[n], block, static_cast<std::int64_t>(at));
      ASSERT_TRUE(loop.read(requests[n]));
    }
    for (std::size_t completed = 0; completed < depth;) {
      const int fetched = loop.round([&](const io_event& event) {
        const auto& asked = *reinterpret_cast<const iocb*>(event.obj);
        const auto* const expected = text.data() + asked.aio_offset;
        right += event.res == block && event.data == asked.aio_data &&
                 std::memcmp(reinterpret_cast<const void*>(event.data), expected, block) == 0;
      });
      ASSERT_GE(fetched, 0);
      completed += static_cast<std::size_t>(fetched);
      ASSERT_LE(completed, depth);
    }
  }
  EXPECT_EQ(right, rounds * depth);
  while (loop.signals() < rounds * depth) ASSERT_EQ(loop.round([](const io_event&) {}), 0);
  EXPECT_EQ(loop.signals(), rounds * depth);
}

TEST(by_number, nginx_reads_through_the_page_cache) { read_a_file_as_nginx_does(0); }
TEST(by_number, nginx_reads_with_o_direct) { read_a_file_as_nginx_does(O_DIRECT); }

// Oracle: a call that fails returns -1 and sets the kernel's errno. A call that succeeds does not change errno.
TEST(by_number, calls_return_minus_one_and_errno) {
  const auto fails = [](int answer) { return answer == -1 ? errno : 0; };
  aio_context_t handle = 0;
  EXPECT_EQ(fails(by_number::setup(0, handle)), EINVAL);
  EXPECT_EQ(fails(static_cast<int>(::syscall(SYS_io_setup, 1, nullptr))), EFAULT);
  EXPECT_EQ(fails(by_number::destroy(0)), EINVAL);
  EXPECT_EQ(fails(by_number::destroy(4096)), EINVAL);
  EXPECT_EQ(fails(by_number::get_events(4096, 0, 0, nullptr, nullptr)), EINVAL);

  errno = errno_before;
  ASSERT_EQ(by_number::setup(8, handle), 0);
  std::array<char, 8> text{};
  auto request = by_number::read_of(-1, text.data(), text.size(), 0);
  EXPECT_EQ(errno, errno_before);
  EXPECT_EQ(fails(by_number::submit(handle, request)), EBADF);
  EXPECT_EQ(fails(by_number::submit(handle, -1, nullptr)), EINVAL);
  EXPECT_EQ(fails(by_number::submit(handle, 1, nullptr)), EFAULT);
  EXPECT_EQ(fails(by_number::cancel(handle, request)), EINVAL);
  io_event event{};
  EXPECT_EQ(fails(by_number::get_events(handle, 2, 1, &event, nullptr)), EINVAL);

  errno = errno_before;
  const auto file = temporary_file("12345678");
  errno = errno_before;
  request = by_number::read_of(file.get(), text.data(), text.size(), 0);
  EXPECT_EQ(by_number::submit(handle, request), 1);
  EXPECT_EQ(by_number::get_events(handle, 1, 1, &event, nullptr), 1);
  EXPECT_EQ(event.res, 8);
  EXPECT_EQ(by_number::destroy(handle), 0);
  EXPECT_EQ(errno, errno_before);
  EXPECT_EQ(fails(by_number::destroy(handle)), EINVAL);
}

TEST(by_number, a_poll_is_cancelled) {
  const context own;
  const doorbell::test::pipe_ends pipe;
  iocb poll{};
  poll.aio_lio_opcode = IOCB_CMD_POLL;
  poll.aio_fildes = static_cast<std::uint32_t>(pipe.read.get());
  poll.aio_buf = POLLIN;
  ASSERT_EQ(by_number::submit(own, poll), 1);
  EXPECT_EQ(by_number::cancel(own, poll), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  io_event event{};
  EXPECT_EQ(by_number::get_events(own, 1, 1, &event, nullptr), 1);
  EXPECT_EQ(event.res, 0);
}

// io_pgetevents has six arguments, the maximum of a system call.
TEST(by_number, a_wait_has_its_timeout_and_its_signal_mask) {
  const context own;
  io_event event{};
  timespec soon{.tv_sec = 0, .tv_nsec = 1'000'000};
  EXPECT_EQ(by_number::get_events(own, 1, 1, &event, &soon), 0);

  sigset_t usr1;
  sigset_t none;
  sigset_t before;
  sigemptyset(&none);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  static volatile std::sig_atomic_t handled = 0;
  const auto former = std::signal(SIGUSR1, [](int) { handled = 1; });
  ::sigprocmask(SIG_BLOCK, &usr1, &before);
  std::raise(SIGUSR1);
  EXPECT_EQ(by_number::get_events(own, 1, 1, &event, &soon, {&usr1, 8}), 0);
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(by_number::get_events(own, 1, 1, &event, nullptr, {&none, 8}), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(by_number::get_events(own, 1, 1, &event, nullptr, {&none, 4}), -1);
  EXPECT_EQ(errno, EINVAL);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  std::signal(SIGUSR1, former);
}

// Calls that are not AIO.

TEST(by_number, other_calls_return_the_results_of_the_kernel) {
  errno = errno_before;
  EXPECT_EQ(::syscall(SYS_getpid), ::getpid());
  EXPECT_EQ(::syscall(SYS_gettid), ::gettid());
  EXPECT_EQ(errno, errno_before);
}

TEST(by_number, other_calls_that_fail_set_errno) {
  EXPECT_EQ(::syscall(SYS_close, -1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(::syscall(SYS_openat, AT_FDCWD, "/no/such/file", O_RDONLY), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(::syscall(-1L), -1);
  EXPECT_EQ(errno, ENOSYS);
}

TEST(by_number, other_calls_have_all_six_arguments) {
  const auto file = temporary_file(std::string(8192, 'a') + "b");
  const long mapped = ::syscall(SYS_mmap, nullptr, 4096, PROT_READ, MAP_PRIVATE, file.get(), 8192L);
  ASSERT_NE(mapped, -1);
  EXPECT_EQ(*reinterpret_cast<const char*>(mapped), 'b');
  EXPECT_EQ(::syscall(SYS_munmap, mapped, 4096), 0);
}

int status_of(pid_t child) {
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(by_number, a_child_of_clone_without_a_new_stack_ends) {
  const long child = ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  ASSERT_NE(child, -1);
  if (child == 0) ::_exit(3);
  EXPECT_EQ(status_of(static_cast<pid_t>(child)), 3);
}

#if defined(__x86_64__)

// Ends the process without writing to the stack, from which its parent will return.
[[gnu::always_inline]] inline void exit_without_stack(long status) {
  __asm__ volatile("syscall" : : "a"(SYS_exit), "D"(status) : "rcx", "r11", "memory");
}

// The child returns from syscall(2) on the stack of its parent, which meanwhile sleeps in the same call.
TEST(by_number, a_child_of_vfork_returns_and_then_its_parent_does) {
  const long child = ::syscall(SYS_vfork);
  if (child == 0) exit_without_stack(7);
  ASSERT_NE(child, -1);
  EXPECT_EQ(status_of(static_cast<pid_t>(child)), 7);
}

volatile int came_by = 0;

void in_clone() {
  came_by = came_by + 1;
  exit_without_stack(9);
}

// The child of clone(2) returns on its own stack, which contains only the return address of syscall(2). A wrapper
// function with a stack frame would read its own saved values from there.
TEST(by_number, a_child_of_clone_returns_on_its_own_stack) {
  static std::array<std::uintptr_t, 4096> stack;
  const std::size_t top = stack.size() - 9;  // as after a call: 8 bytes above a multiple of 16
  stack[top] = reinterpret_cast<std::uintptr_t>(&in_clone);
  came_by = 0;
  const long child = ::syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, &stack[top], nullptr, nullptr, nullptr);
  ASSERT_NE(child, -1);
  EXPECT_EQ(came_by, 1);
  EXPECT_EQ(status_of(static_cast<pid_t>(child)), 9);
}

#endif

}  // namespace
