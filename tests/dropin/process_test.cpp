// SPDX-License-Identifier: Apache-2.0
//
// The start, fork, exec and end of programs with I/O in flight.
#include <doorbell/base/unique_fd.hpp>

#include <gtest/gtest.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "queue.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/files.hpp"

namespace {

using doorbell::test::in_child;
using doorbell::test::pipe_ends;
using doorbell::test::queue;
using doorbell::test::temporary_file;

/// Expects that a new context of this process works.
void expect_reads_and_writes() {
  const auto file = temporary_file();
  queue own;
  ASSERT_EQ(own.status(), 0);
  std::array<char, 8> text{};
  EXPECT_EQ(own.write(file.get(), "hello", 5, 0), 5);
  EXPECT_EQ(own.read(file.get(), text.data(), text.size(), 0), 5);
  EXPECT_STREQ(text.data(), "hello");
}

/// A static object that does I/O in its constructor and in its destructor, except in a child, which does not have its
/// context.
class io_outside_of_main {
 public:
  io_outside_of_main() { written_ = queue_.write(file_.get(), "early", 5, 0); }
  ~io_outside_of_main() {
    if (::getpid() != maker_) return;
    std::array<char, 8> text{};
    if (queue_.read(file_.get(), text.data(), text.size(), 0) != 5 || std::string{text.data()} != "early") std::abort();
  }
  io_outside_of_main(const io_outside_of_main&) = delete;
  io_outside_of_main& operator=(const io_outside_of_main&) = delete;

  [[nodiscard]] long written() const { return written_; }

 private:
  doorbell::base::unique_fd file_ = temporary_file();
  queue queue_;
  long written_ = 0;
  pid_t maker_ = ::getpid();
};

const io_outside_of_main outside;

TEST(process, does_io_before_main_and_after_it) { EXPECT_EQ(outside.written(), 5); }

/// A context with a poll of a pipe to which nothing is written.
struct waiting_poll {
  waiting_poll() {
    ::io_prep_poll(&poll, pipe.read.get(), POLLIN);
    EXPECT_EQ(ctx.submit(poll), 1);
  }
  pipe_ends pipe;
  iocb poll{};
  queue ctx;
};

TEST(process, forks_and_the_child_has_only_its_own_contexts) {
  waiting_poll parents;
  in_child([&] {
    iocb poll;
    ::io_prep_poll(&poll, parents.pipe.read.get(), POLLIN);
    EXPECT_EQ(parents.ctx.submit(poll), -EINVAL);
    expect_reads_and_writes();
  });
  ASSERT_EQ(::write(parents.pipe.write.get(), "x", 1), 1);
  io_event event{};
  EXPECT_EQ(parents.ctx.next(event), 1);
  EXPECT_EQ(event.res & POLLIN, static_cast<unsigned long>(POLLIN));
}

TEST(process, is_another_programs_child) { expect_reads_and_writes(); }

TEST(process, becomes_another_program_with_io_in_flight) {
  const waiting_poll given_up;
  in_child([] {
    const waiting_poll given_up_too;
    ::execl("/proc/self/exe", "again", "--gtest_filter=process.is_another_programs_child", nullptr);
    ADD_FAILURE() << "execl";
  });
}

// Oracle: the process ends with its own status, although a poll will never complete. Each accepted write is in the
// file.
TEST(process, exits_with_io_in_flight) {
  for (const auto& end : {+[](int status) { std::exit(status); }, +[](int status) { ::_exit(status); }}) {
    const auto file = temporary_file();
    const pid_t child = doorbell::test::start_child([&] {
      auto& forlorn = *new waiting_poll;
      std::vector<std::string> text(32, std::string(4096, 'w'));
      std::vector<iocb> writes(text.size());
      for (std::size_t n = 0; n < writes.size(); ++n) {
        ::io_prep_pwrite(&writes[n], file.get(), text[n].data(), text[n].size(), static_cast<long long>(n) * 4096);
        if (forlorn.ctx.submit(writes[n]) != 1) ::_exit(1);
      }
      io_event event{};
      for (std::size_t n = 0; n < writes.size() / 2; ++n)
        if (forlorn.ctx.next(event) != 1 || event.res != 4096) ::_exit(2);
      end(42);
    });
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 42);
    std::string content(32UL * 4096 + 1, '\0');
    content.resize(static_cast<std::size_t>(::pread(file.get(), content.data(), content.size(), 0)));
    EXPECT_EQ(content, std::string(32UL * 4096, 'w'));
  }
}

TEST(process, exits_while_other_threads_submit_and_wait) {
  const pid_t child = doorbell::test::start_child([] {
    const auto file = temporary_file("x");
    auto& forlorn = *new waiting_poll;
    pipe_ends going;
    std::thread waits{[&] {
      io_event event{};
      forlorn.ctx.next(event);
    }};
    std::thread submits{[&] {
      queue own;
      char text = 0;
      for (;;)
        if (own.read(file.get(), &text, 1, 0) == 1) (void)::write(going.write.get(), "x", 1);
    }};
    std::array<char, 64> enough{};
    for (char& each : enough) EXPECT_EQ(::read(going.read.get(), &each, 1), 1);
    std::exit(42);
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

/// Synchronous writes of a file's blocks, in flight.
struct writes_in_flight {
  static constexpr std::size_t count = 16;
  static constexpr std::size_t block = 4096;

  writes_in_flight() {
    for (std::size_t n = 0; n < count; ++n) {
      const auto offset = n * block;
      ::io_prep_pwrite(&writes[n], file.get(), text.data(), block, static_cast<long long>(offset));
      writes[n].aio_rw_flags = RWF_SYNC;
      EXPECT_EQ(ctx.submit(writes[n]), 1);
    }
  }

  void expect_events() {
    for (std::size_t n = 0; n < count; ++n) {
      io_event event{};
      ASSERT_EQ(ctx.next(event), 1);
      EXPECT_EQ(event.res, block);
    }
  }

  [[nodiscard]] static std::size_t found_in(int file) {
    std::string content(count * block, '\0');
    const auto bytes = ::pread(file, content.data(), content.size(), 0);
    return bytes < 0 ? 0 : static_cast<std::size_t>(std::ranges::count(content, 'x')) / block;
  }

  doorbell::base::unique_fd file = temporary_file();
  std::string text = std::string(block, 'x');
  std::array<iocb, count> writes{};
  queue ctx{32};
};

// Oracle: an execve that fails has no effect on contexts.
TEST(process, fails_to_become_another_program_and_continues) {
  writes_in_flight written;
  const waiting_poll waiting;
  std::array<char*, 2> arguments{const_cast<char*>("nothing"), nullptr};
  constexpr const char* nowhere = "/nonexistent/program";
  const auto expect_failed = [](const char* function, auto call, int error) {
    errno = 0;
    EXPECT_EQ(call(), -1) << function;
    EXPECT_EQ(errno, error) << function;
  };
  expect_failed("execve", [&] { return ::execve(nowhere, arguments.data(), environ); }, ENOENT);
  expect_failed("execv", [&] { return ::execv(nowhere, arguments.data()); }, ENOENT);
  expect_failed("execvp", [&] { return ::execvp(nowhere, arguments.data()); }, ENOENT);
  expect_failed("execvpe", [&] { return ::execvpe(nowhere, arguments.data(), environ); }, ENOENT);
  expect_failed("execl", [&] { return ::execl(nowhere, "nothing", nullptr); }, ENOENT);
  expect_failed("execlp", [&] { return ::execlp(nowhere, "nothing", nullptr); }, ENOENT);
  expect_failed("execle", [&] { return ::execle(nowhere, "nothing", nullptr, environ); }, ENOENT);
  expect_failed("fexecve", [&] { return ::fexecve(written.file.get(), arguments.data(), environ); }, EACCES);
  expect_failed("execveat", [&] { return ::execveat(-1, "program", arguments.data(), environ, 0); }, EBADF);
  written.expect_events();
  EXPECT_EQ(writes_in_flight::found_in(written.file.get()), writes_in_flight::count);
  std::thread{[] { expect_reads_and_writes(); }}.join();
}

template <std::size_t... Numbers>
int run_with_arguments(const char* function, std::index_sequence<Numbers...>) {
  constexpr const char* count = "exit $#";
  const auto argument = [](std::size_t) { return "argument"; };
  char* const end = nullptr;
  const std::string_view name{function};
  if (name == "execl") return ::execl("/bin/sh", "sh", "-c", count, "sh", argument(Numbers)..., end);
  if (name == "execlp") return ::execlp("sh", "sh", "-c", count, "sh", argument(Numbers)..., end);
  if (name == "execle") return ::execle("/bin/sh", "sh", "-c", count, "sh", argument(Numbers)..., end, environ);
  return ::execl("/nonexistent/program", "nothing", argument(Numbers)..., end);
}

// Oracle: the other program gets all arguments. If there is no such program, the call fails and the caller's stack is
// intact.
TEST(process, passes_many_arguments_to_another_program) {
  constexpr std::size_t count = 200;
  constexpr std::make_index_sequence<count> arguments;
  for (const char* const function : {"execl", "execlp", "execle"}) {
    const pid_t child = doorbell::test::start_child([&] { run_with_arguments(function, arguments); });
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << function << ": signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(count)) << function;
  }
  in_child([&] {
    EXPECT_EQ(run_with_arguments("none", arguments), -1);
    EXPECT_EQ(errno, ENOENT);
  });
}

// Oracle: the child's end does not wait for the parent's requests, and the parent's contexts still work.
TEST(process, ends_a_child_of_vfork_and_continues) {
  writes_in_flight written;
  const waiting_poll waiting;
  const auto expect_status = [](pid_t child, int expected) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), expected);
  };
  // NOLINTBEGIN(bugprone-unsafe-functions): the test is about vfork(2)
  const pid_t becomes_another = ::vfork();
  if (becomes_another == 0) {
    ::execl("/bin/sh", "sh", "-c", "exit 42", nullptr);
    ::_exit(1);
  }
  expect_status(becomes_another, 42);
  const pid_t fails = ::vfork();
  if (fails == 0) {
    ::execl("/nonexistent/program", "nothing", nullptr);
    ::_exit(43);
  }
  // NOLINTEND(bugprone-unsafe-functions)
  expect_status(fails, 43);
  written.expect_events();
  std::thread{[] { expect_reads_and_writes(); }}.join();
}

// Oracle: the process ends with status 0 although the library has threads. They check once a second whether only they
// are left.
TEST(process, ends_when_its_last_thread_has_ended) {
  const auto child = doorbell::test::start_child([] {
    io_context_t context = nullptr;
    const doorbell::test::pipe_ends pipe;
    iocb poll;
    ::io_prep_poll(&poll, pipe.read.get(), POLLIN);
    iocb* asked = &poll;
    io_event event{};
    EXPECT_EQ(::io_setup(8, &context), 0);
    EXPECT_EQ(::io_submit(context, 1, &asked), 1);
    EXPECT_EQ(::write(pipe.write.get(), "x", 1), 1);
    EXPECT_EQ(::io_getevents(context, 1, 1, &event, nullptr), 1);
    // Like pthread_exit(3), but without destroying the objects on the stack.
    ::syscall(SYS_exit, testing::Test::HasFailure() ? 1 : 0);
  });
  int status = -1;
  if (!doorbell::test::eventually([&] { return ::waitpid(child, &status, WNOHANG) != 0; })) {
    ::kill(child, SIGKILL);  // the library's threads block all other signals
    ::waitpid(child, &status, 0);
  }
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// Oracle: the handler ends the process with its status. All writes that io_submit has accepted are in the file.
TEST(process, ends_in_a_handler_that_has_interrupted_a_wait) {
  const auto file = temporary_file();
  const pid_t child = doorbell::test::start_child([&] {
    std::signal(SIGUSR1, [](int) { ::_exit(42); });
    auto& written = *new writes_in_flight;
    for (auto& each : written.writes) {
      each.aio_fildes = file.get();
      if (written.ctx.submit(each) != 1) ::_exit(1);
    }
    auto& waiting = *new waiting_poll;
    std::thread{[main = ::pthread_self()] { ::pthread_kill(main, SIGUSR1); }}.detach();
    io_event event{};
    waiting.ctx.next(event);
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(writes_in_flight::found_in(file.get()), writes_in_flight::count);
}

// Oracle: the handler ends the process with its status, whichever call it has interrupted, with whichever lock held.
TEST(process, ends_in_a_handler_that_has_interrupted_any_call) {
  for (unsigned round = 0; round < 40; ++round) {
    const pid_t child = doorbell::test::start_child([&] {
      std::signal(SIGALRM, [](int) { ::_exit(42); });
      ::ualarm(2000 + 37 * round, 0);
      const auto file = temporary_file();
      const std::string text(4096, 'x');
      for (;;) {
        queue own;
        iocb write;
        ::io_prep_pwrite(&write, file.get(), const_cast<char*>(text.data()), text.size(), 0);
        write.aio_rw_flags = round % 2 == 0 ? 0 : RWF_DSYNC;
        for (int n = 0; n < 4; ++n) own.submit(write);
        io_event event{};
        own.next(event);
      }
    });
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status) << ", round " << round;
    EXPECT_EQ(WEXITSTATUS(status), 42);
  }
}

TEST(process, works_with_sixteen_descriptors) {
  in_child([] {
    const rlimit few{.rlim_cur = 16, .rlim_max = 16};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    expect_reads_and_writes();
    const doorbell::base::unique_fd efd{::eventfd(0, 0)};
    const auto file = temporary_file("hello");
    queue first;
    queue second;
    ASSERT_EQ(first.status(), 0);
    ASSERT_EQ(second.status(), 0);
    std::array<char, 8> text{};
    iocb read;
    ::io_prep_pread(&read, file.get(), text.data(), text.size(), 0);
    ::io_set_eventfd(&read, efd.get());
    EXPECT_EQ(first.result_of(read), 5);
    std::uint64_t signals = 0;
    EXPECT_EQ(::read(efd.get(), &signals, sizeof signals), static_cast<ssize_t>(sizeof signals));
    EXPECT_EQ(signals, 1U);
    pipe_ends pipe;
    iocb poll;
    ::io_prep_poll(&poll, pipe.read.get(), POLLIN);
    ASSERT_EQ(second.submit(poll), 1);
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    io_event event{};
    EXPECT_EQ(second.next(event), 1);
  });
}

}  // namespace
