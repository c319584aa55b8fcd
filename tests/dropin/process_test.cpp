// SPDX-License-Identifier: Apache-2.0
//
// How programs begin, fork, exec and end, with I/O in flight.
#include <doorbell/base/unique_fd.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "queue.hpp"
#include "support/child.hpp"
#include "support/files.hpp"

namespace {

using doorbell::test::in_child;
using doorbell::test::pipe_ends;
using doorbell::test::queue;
using doorbell::test::temporary_file;

/// That a context of this process's own does what it is for.
void expect_reads_and_writes() {
  const auto file = temporary_file();
  queue own;
  ASSERT_EQ(own.status(), 0);
  std::array<char, 8> text{};
  EXPECT_EQ(own.write(file.get(), "hello", 5, 0), 5);
  EXPECT_EQ(own.read(file.get(), text.data(), text.size(), 0), 5);
  EXPECT_STREQ(text.data(), "hello");
}

/// A static object that does I/O when it is made and when it is destroyed; not in a child, which has not its context.
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

/// A context with a request that waits for what will never be written.
struct waiting_poll {
  waiting_poll() {
    ::io_prep_poll(&poll, pipe.read.get(), POLLIN);
    EXPECT_EQ(ctx.submit(poll), 1);
  }
  pipe_ends pipe;
  iocb poll{};
  queue ctx;
};

TEST(process, forks_and_the_child_has_contexts_of_its_own_only) {
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

TEST(process, that_is_another_programs_child) { expect_reads_and_writes(); }

TEST(process, becomes_another_program_with_io_in_flight) {
  const waiting_poll given_up;
  in_child([] {
    const waiting_poll given_up_too;
    ::execl("/proc/self/exe", "again", "--gtest_filter=process.that_is_another_programs_child", nullptr);
    ADD_FAILURE() << "execl";
  });
}

// Oracle: it ends with its own status, at once, though a poll will never end; what it was told is written, is.
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

TEST(process, gets_by_with_sixteen_descriptors) {
  in_child([] {
    const rlimit few{.rlim_cur = 16, .rlim_max = 16};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    expect_reads_and_writes();
    const doorbell::base::unique_fd bell{::eventfd(0, 0)};
    const auto file = temporary_file("hello");
    queue first;
    queue second;
    ASSERT_EQ(first.status(), 0);
    ASSERT_EQ(second.status(), 0);
    std::array<char, 8> text{};
    iocb read;
    ::io_prep_pread(&read, file.get(), text.data(), text.size(), 0);
    ::io_set_eventfd(&read, bell.get());
    EXPECT_EQ(first.result_of(read), 5);
    std::uint64_t rung = 0;
    EXPECT_EQ(::read(bell.get(), &rung, sizeof rung), static_cast<ssize_t>(sizeof rung));
    EXPECT_EQ(rung, 1U);
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
