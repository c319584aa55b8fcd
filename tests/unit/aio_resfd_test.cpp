// SPDX-License-Identifier: Apache-2.0
//
// Kernel eventfds that requests name: in restricted processes, for example without /proc, and shared by many contexts.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "../../aio/resfd/resfd.hpp"
#include "../../aio/system/same_file.hpp"
#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/fds.hpp"
#include "support/file_kinds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/refused_calls.hpp"
#include "support/restricted.hpp"
#include "support/threads.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace aio = doorbell::aio;
using doorbell::test::in_child;
using doorbell::test::kernel_eventfd;
using doorbell::test::take;
using doorbell::test::take_until;
using doorbell::test::unique_fd;

constexpr std::uint64_t most = UINT64_MAX - 1;

/// A context that is used by handle.
class a_context {
 public:
  explicit a_context(unsigned nr = 8) { EXPECT_EQ(aio::io_setup(nr, &handle_), 0); }
  a_context(a_context&& other) noexcept : handle_{std::exchange(other.handle_, 0)} {}
  a_context& operator=(a_context&& other) = delete;
  ~a_context() {
    if (handle_ != 0) {
      EXPECT_EQ(aio::io_destroy(handle_), 0);
    }
  }

  [[nodiscard]] int submit(std::vector<aio::iocb_abi*> requests) const {
    return aio::io_submit(handle_, static_cast<long>(requests.size()), requests.data());
  }
  void get(std::size_t count) const {
    std::vector<aio::io_event> events(count);
    EXPECT_EQ(aio::io_getevents(handle_, static_cast<long>(count), static_cast<long>(count), events.data(), nullptr),
              static_cast<int>(count));
  }

 private:
  aio::aio_context_t handle_ = 0;
};

/// Makes reads of a file that complete alternately inline and by the engine.
class reads {
 public:
  [[nodiscard]] aio::iocb_abi signalling(int eventfd) {
    aio::iocb_abi read = aio::prep_pread(file_.get(), text_.data(), text_.size(), 0);
    if (++made_ % 2 == 0) read = doorbell::test::by_engine(read);
    read.flags |= aio::iocb_abi::flag_resfd;
    read.resfd = static_cast<std::uint32_t>(eventfd);
    return read;
  }
  /// Submits `count` reads and fetches their events.
  void complete(const a_context& ctx, int eventfd, std::size_t count = 2) {
    std::vector<aio::iocb_abi> each;
    std::vector<aio::iocb_abi*> pointers;
    for (std::size_t n = 0; n < count; ++n) each.push_back(signalling(eventfd));
    for (auto& one : each) pointers.push_back(&one);
    ASSERT_EQ(ctx.submit(pointers), static_cast<int>(count));
    ctx.get(count);
  }

 private:
  const unique_fd file_ = doorbell::test::temporary_file("text");
  std::array<char, 4> text_{};
  unsigned made_ = 0;
};

/// Whether the eventfd is full, or becomes full within a few seconds.
bool becomes_full(int fd) {
  return doorbell::test::eventually([fd] { return (doorbell::test::polled(fd) & POLLOUT) == 0; });
}

/// The number of descriptors that refer to the same file as `fd`.
std::size_t descriptors_of(int fd) {
  std::size_t count = 0;
  for (int other = 0; other < 1024; ++other)
    count += doorbell::test::is_open(other) && aio::is_same_file(fd, other) ? 1U : 0U;
  return count;
}

class aio_resfd_restricted : public testing::TestWithParam<doorbell::test::restriction> {};

// Oracle: each completion is counted, and other files are refused with the kernel's error.
TEST_P(aio_resfd_restricted, eventfds_are_signalled_and_other_files_refused) {
  in_child([] {
    reads requests;
    const doorbell::test::other_files others;
    const std::array eventfds{kernel_eventfd(0, 0), kernel_eventfd(0, EFD_NONBLOCK)};
    const auto same_file = unique_fd{::fcntl(eventfds[0].get(), F_DUPFD_CLOEXEC, 0)};
    if (!GetParam().apply()) return;
    const a_context ctx;
    for (const auto& each : eventfds)
      for (const std::size_t count : {1U, 2U, 8U}) {
        requests.complete(ctx, each.get(), count);
        ASSERT_FALSE(HasFatalFailure());
        EXPECT_EQ(take_until(each.get(), count), count);
      }
    for (const auto& [name, fd] : others.all()) {
      auto refused = requests.signalling(fd.get());
      EXPECT_EQ(ctx.submit({&refused}), -EINVAL) << name;
    }
    EXPECT_TRUE(aio::is_same_file_by_epoll(eventfds[0].get(), same_file.get()));
    EXPECT_FALSE(aio::is_same_file_by_epoll(eventfds[0].get(), eventfds[1].get()));
  });
}

// Oracle: submit and getevents return. Kernel AIO, which would drop a count that does not fit, is not available; so the
// library adds the rest when the program reads the eventfd.
TEST_P(aio_resfd_restricted, without_kernel_aio_a_full_eventfd_gets_the_rest_when_it_is_read) {
  in_child([] {
    reads requests;
    if (!GetParam().apply()) return;
    doorbell::test::refuse_kernel_aio();
    const a_context ctx;
    for (const int flags : {0, static_cast<int>(EFD_NONBLOCK)}) {
      const auto efd = kernel_eventfd(0, flags);
      ASSERT_TRUE(doorbell::test::give(efd.get(), most - 1));
      requests.complete(ctx, efd.get(), 6);
      ASSERT_FALSE(HasFatalFailure());
      EXPECT_TRUE(becomes_full(efd.get()));
      EXPECT_EQ(take(efd.get()), most);
      EXPECT_EQ(take_until(efd.get(), 5), 5U);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(, aio_resfd_restricted, testing::ValuesIn(doorbell::test::restrictions),
                         [](const auto& tested) { return std::string{tested.param.name}; });

TEST(same_file, comparison_by_epoll_is_right_for_each_pair) {
  const auto one = kernel_eventfd();
  const auto other = kernel_eventfd();
  const unique_fd again{::fcntl(one.get(), F_DUPFD_CLOEXEC, 0)};
  const auto file = doorbell::test::temporary_file();
  const auto before = doorbell::test::inventory::now();
  EXPECT_TRUE(aio::is_same_file_by_epoll(one.get(), again.get()));
  EXPECT_TRUE(aio::is_same_file_by_epoll(again.get(), one.get()));
  EXPECT_TRUE(aio::is_same_file_by_epoll(one.get(), one.get()));
  EXPECT_FALSE(aio::is_same_file_by_epoll(one.get(), other.get()));
  EXPECT_FALSE(aio::is_same_file_by_epoll(one.get(), file.get()));
  EXPECT_FALSE(aio::is_same_file_by_epoll(one.get(), -1));
  EXPECT_FALSE(aio::is_same_file_by_epoll(-1, one.get()));
  EXPECT_EQ(doorbell::test::inventory::now().descriptors, before.descriptors);
}

class aio_resfd : public testing::Test {
 protected:
  reads requests_;
};

// Oracle: each context has one descriptor for its completions and, if it has a ring, one for the ring. All contexts
// together have a few descriptors for the eventfd.
TEST_F(aio_resfd, a_hundred_contexts_share_the_descriptors_of_an_eventfd) {
  constexpr std::size_t contexts = 100;
  constexpr std::size_t shared = 8;
  const std::size_t of_each = aio::context{1}.engine() == "io_uring" ? 2 : 1;
  in_child([&] {
    const auto efd = kernel_eventfd(0, 0);
    const auto before = doorbell::test::inventory::now().descriptors;
    {
      std::vector<a_context> all(contexts);
      for (const auto& each : all) requests_.complete(each, efd.get(), 4);
      EXPECT_EQ(take_until(efd.get(), contexts * 4), contexts * 4);
      EXPECT_EQ(descriptors_of(efd.get()), 2U);
      EXPECT_LE(doorbell::test::inventory::now().descriptors, before + contexts * of_each + shared);
    }
    EXPECT_EQ(descriptors_of(efd.get()), 1U);
    EXPECT_LE(doorbell::test::inventory::now().descriptors, before + shared);
  });
}

TEST_F(aio_resfd, each_context_notices_that_a_number_refers_to_another_eventfd) {
  const a_context first;
  const a_context second;
  auto efd = kernel_eventfd();
  const auto other = kernel_eventfd();
  const unique_fd same{::fcntl(efd.get(), F_DUPFD_CLOEXEC, 0)};
  requests_.complete(first, efd.get());
  requests_.complete(second, efd.get());
  ASSERT_EQ(::dup3(other.get(), efd.get(), O_CLOEXEC), efd.get());
  requests_.complete(second, efd.get(), 3);
  requests_.complete(first, efd.get(), 3);
  EXPECT_EQ(take_until(same.get(), 4), 4U);
  EXPECT_EQ(take_until(other.get(), 6), 6U);
  EXPECT_EQ(descriptors_of(other.get()), 3U) << "two of them are the program's";
}

// Oracle: the library has one duplicate, and requests after its close are counted.
TEST_F(aio_resfd, a_program_that_closes_the_duplicate_loses_no_later_count) {
  in_child([&] {
    const a_context first;
    const a_context second;
    const auto efd = kernel_eventfd();
    requests_.complete(first, efd.get());
    requests_.complete(second, efd.get());
    EXPECT_EQ(take_until(efd.get(), 4), 4U);  // otherwise a count could be lost by the close
    int closed = 0;
    for (int fd = 3; fd < 1024; ++fd)
      if (fd != efd.get() && doorbell::test::is_open(fd) && aio::is_same_file(efd.get(), fd)) {
        // ThreadSanitizer would report a close of a number that the library uses; it does not see direct system calls.
        ASSERT_EQ(::syscall(SYS_close, fd), 0);
        ++closed;
      }
    EXPECT_EQ(closed, 1);
    requests_.complete(second, efd.get());
    requests_.complete(first, efd.get());
    EXPECT_EQ(take_until(efd.get(), 4), 4U);
    EXPECT_EQ(descriptors_of(efd.get()), 2U);
  });
}

// Oracle: a file that the program has put at the numbers of its eventfd and of the library's duplicate stays empty,
// whether submit accepts the request or, as the kernel does, refuses it.
TEST_F(aio_resfd, a_file_in_the_places_of_the_eventfd_and_its_duplicate_is_not_written_to) {
  in_child([&] {
    const a_context ctx;
    const auto efd = kernel_eventfd();
    requests_.complete(ctx, efd.get());
    EXPECT_EQ(take_until(efd.get(), 2), 2U);
    const auto file = doorbell::test::temporary_file();
    ASSERT_EQ(::fcntl(file.get(), F_SETFL, O_NONBLOCK), 0);  // the flag of a non-blocking eventfd
    int replaced = 0;
    for (int fd = 3; fd < 1024; ++fd)
      if (fd != efd.get() && doorbell::test::is_open(fd) && aio::is_same_file(efd.get(), fd)) {
        // ThreadSanitizer would report a close of a number that the library uses; it does not see direct system calls.
        ASSERT_EQ(::syscall(SYS_dup3, file.get(), fd, O_CLOEXEC), fd);
        ++replaced;
      }
    EXPECT_EQ(replaced, 1);
    ASSERT_EQ(::dup3(file.get(), efd.get(), O_CLOEXEC), efd.get());
    for (int n = 0; n < 2; ++n) {
      auto request = requests_.signalling(efd.get());
      if (ctx.submit({&request}) == 1) ctx.get(1);
    }
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), 0);
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 0);
  });
}

/// The epoll descriptors of this process.
std::vector<int> epolls() {
  std::vector<int> found;
  for (int fd = 3; fd < 1024; ++fd) {
    std::error_code none;
    const auto link = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), none);
    if (link == "anon_inode:[eventpoll]") found.push_back(fd);
  }
  return found;
}

// Oracle: each later request is counted exactly once. The library identifies its duplicates of eventfds with one of its
// epolls.
TEST_F(aio_resfd, a_program_that_closes_an_epoll_of_the_library_loses_no_later_count) {
  for (const std::size_t which : {0U, 1U, 2U})
    in_child([&] {
      const a_context ctx;
      const std::array efds{kernel_eventfd(), kernel_eventfd(0, 0)};
      for (const auto& each : efds) {
        requests_.complete(ctx, each.get());
        EXPECT_EQ(take_until(each.get(), 2), 2U);
      }
      const auto all = epolls();
      ASSERT_FALSE(all.empty());
      if (which >= all.size()) return;  // the number of epolls depends on the engine
      ASSERT_EQ(::syscall(SYS_close, all[which]), 0);
      for (int round = 0; round < 3; ++round)
        for (const auto& each : efds) {
          requests_.complete(ctx, each.get());
          EXPECT_EQ(take_until(each.get(), 2), 2U) << which;
        }
    });
}

// Oracle: the program's descriptors stay open, and each request is counted.
TEST_F(aio_resfd, a_program_may_put_its_own_duplicates_at_the_numbers_of_the_library) {
  in_child([&] {
    const a_context ctx;
    const auto efd = kernel_eventfd();
    requests_.complete(ctx, efd.get());
    EXPECT_EQ(take_until(efd.get(), 2), 2U);
    std::vector<int> own;
    for (int fd = efd.get() + 1; fd < 1024; ++fd)
      if (doorbell::test::is_open(fd) && fd >= 600) {
        ASSERT_EQ(::syscall(SYS_dup3, efd.get(), fd, O_CLOEXEC), fd);
        own.push_back(fd);
      }
    ASSERT_FALSE(own.empty());
    for (int round = 0; round < 3; ++round) {
      requests_.complete(ctx, efd.get());
      EXPECT_EQ(take_until(efd.get(), 2), 2U);
    }
    for (const int each : own) EXPECT_TRUE(aio::is_same_file(each, efd.get())) << each;
  });
}

// Oracle: the reaper drops the last reference to an eventfd's object, because another eventfd has replaced it in the
// context's table. The library's duplicate stays open until the program makes a call that may close it.
TEST_F(aio_resfd, the_reaper_leaves_the_close_of_a_duplicate_to_the_program) {
  in_child([&] {
    const doorbell::test::pipe_ends pipe;
    const a_context ctx;
    const a_context other;
    const auto first = kernel_eventfd();
    constexpr int places = 8;  // in a context's table of eventfds, indexed by number modulo `places`
    const unique_fd second{::fcntl(kernel_eventfd().get(), F_DUPFD_CLOEXEC, first.get() + places)};
    ASSERT_EQ(second.get(), first.get() + places);
    const auto poll_signalling = [&](const unique_fd& eventfd) {
      auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
      poll.flags |= aio::iocb_abi::flag_resfd;
      poll.resfd = static_cast<std::uint32_t>(eventfd.get());
      return poll;
    };
    char byte = 0;
    auto of_first = poll_signalling(first);
    auto of_second = poll_signalling(second);
    ASSERT_EQ(ctx.submit({&of_first}), 1);
    ASSERT_EQ(ctx.submit({&of_second}), 1);
    ASSERT_EQ(::write(pipe.write.get(), &byte, 1), 1);
    EXPECT_EQ(take_until(first.get(), 1), 1U);
    EXPECT_EQ(take_until(second.get(), 1), 1U);
    // When this request signals its eventfd, the reaper has finished with the earlier requests.
    ASSERT_EQ(::read(pipe.read.get(), &byte, 1), 1);
    ASSERT_EQ(ctx.submit({&of_second}), 1);
    ASSERT_EQ(::write(pipe.write.get(), &byte, 1), 1);
    EXPECT_EQ(take_until(second.get(), 1), 1U);
    EXPECT_EQ(descriptors_of(first.get()), 2U);
    const auto third = kernel_eventfd();
    requests_.complete(other, third.get());
    EXPECT_EQ(descriptors_of(first.get()), 1U);
  });
}

// Oracle: parent and child share the eventfd, and each adds the counts of its own requests. Neither affects the counts
// of the other process.
TEST_F(aio_resfd, a_child_and_its_parent_both_signal_their_shared_eventfd) {
  const auto efd = kernel_eventfd();
  const a_context ctx;
  requests_.complete(ctx, efd.get(), 3);
  EXPECT_EQ(take_until(efd.get(), 3), 3U);
  in_child([&] {
    {
      const a_context own;
      const a_context another;
      requests_.complete(own, efd.get(), 5);
      requests_.complete(another, efd.get(), 5);
    }
    const a_context later;
    requests_.complete(later, efd.get(), 1);
    EXPECT_EQ(take_until(efd.get(), 11), 11U);
  });
  requests_.complete(ctx, efd.get(), 4);
  EXPECT_EQ(take_until(efd.get(), 4), 4U);
}

// Oracle: the child does not use the object of its parent for the eventfd, which other threads of the parent may have
// been changing at the fork.
TEST_F(aio_resfd, a_child_has_an_object_of_its_own_for_its_parents_eventfd) {
  const auto efd = kernel_eventfd();
  std::error_code ec;
  const auto parents = aio::resfd_registry::process().find(efd.get(), ec);
  ASSERT_NE(parents, nullptr);
  EXPECT_EQ(aio::resfd_registry::process().find(efd.get(), ec), parents);
  in_child([&] {
    const auto own = aio::resfd_registry::process().find(efd.get(), ec);
    EXPECT_NE(own, nullptr);
    EXPECT_NE(own, parents);
  });
}

// Oracle: the counts that are read add up to the number of requests, although each context that ends may drop the last
// reference to the eventfd's object while another context looks it up.
TEST_F(aio_resfd, contexts_that_come_and_go_concurrently_lose_no_count) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t rounds = 60;
  const auto efd = kernel_eventfd();
  doorbell::test::run_together(threads, [&](std::size_t) {
    reads own;
    for (std::size_t round = 0; round < rounds; ++round) {
      const a_context ctx;
      own.complete(ctx, efd.get(), 1 + round % 3);
    }
  });
  const std::uint64_t all = threads * (rounds / 3) * 6;
  EXPECT_EQ(take_until(efd.get(), all), all);
  EXPECT_EQ(descriptors_of(efd.get()), 1U);
}

}  // namespace
