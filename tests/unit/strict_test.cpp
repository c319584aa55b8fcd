// SPDX-License-Identifier: Apache-2.0
//
// DOORBELL_STRICT=1: calls with invalid pointers return EFAULT, and do not change errno; otherwise the library uses
// such pointers unchecked. Each case runs in a child, because a process reads the variable once.
#include <doorbell/aio_calls.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "support/child.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"

namespace {

namespace aio = doorbell::aio;

/// A page without access, or with read access only.
template <class T>
T* mapped_page(int protection) {
  void* const made = ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(made, MAP_FAILED);
  return static_cast<T*>(made);
}
template <class T>
T* nothing() {
  return mapped_page<T>(PROT_NONE);
}
template <class T>
T* read_only() {
  return mapped_page<T>(PROT_READ);
}

/// @return the result of a call, which must not change errno.
template <class Call>
int answer_to(Call call) {
  errno = EXDEV;
  const int answer = call();
  EXPECT_EQ(errno, EXDEV);
  return answer;
}

class context {
 public:
  context() { EXPECT_EQ(aio::io_setup(8, &handle_), 0); }
  ~context() { EXPECT_EQ(aio::io_destroy(handle_), 0); }
  context(const context&) = delete;
  context& operator=(const context&) = delete;

  int submit(aio::iocb_abi* one) const { return submit_list(&one); }
  int submit_list(aio::iocb_abi** list) const {
    return answer_to([&] { return aio::io_submit(handle_, 1, list); });
  }
  int get(aio::io_event* events, timespec* timeout) const {
    return answer_to([&] { return aio::io_getevents(handle_, 1, 1, events, timeout); });
  }
  int get_masked(const aio::aio_sigset* mask) const {
    aio::io_event event{};
    return answer_to([&] { return aio::io_pgetevents(handle_, 1, 1, &event, nullptr, mask); });
  }
  int cancel(aio::iocb_abi* one) const {
    return answer_to([&] { return aio::io_cancel(handle_, one, nullptr); });
  }

 private:
  aio::aio_context_t handle_ = 0;
};

void expect_works() {
  const auto file = doorbell::test::temporary_file("hello");
  const context ctx;
  std::array<char, 8> text{};
  const std::array<iovec, 2> parts{iovec{text.data(), 2}, iovec{text.data() + 2, 6}};
  aio::iocb_abi read = aio::prep_preadv(file.get(), parts, 0);
  ASSERT_EQ(ctx.submit(&read), 1);
  aio::io_event event{};
  ASSERT_EQ(ctx.get(&event, nullptr), 1);
  EXPECT_EQ(event.res, 5);
}

void expect_refuses() {
  for (auto* const unwritable : {nothing<aio::aio_context_t>(), read_only<aio::aio_context_t>()})
    EXPECT_EQ(answer_to([&] { return aio::io_setup(8, unwritable); }), -EFAULT);
  const context ctx;
  EXPECT_EQ(ctx.submit(nothing<aio::iocb_abi>()), -EFAULT);
  EXPECT_EQ(ctx.submit_list(nothing<aio::iocb_abi*>()), -EFAULT);
  EXPECT_EQ(ctx.cancel(nothing<aio::iocb_abi>()), -EFAULT);
  aio::io_event event{};
  EXPECT_EQ(ctx.get(&event, nothing<timespec>()), -EFAULT);
  EXPECT_EQ(ctx.get_masked(nothing<aio::aio_sigset>()), -EFAULT);
  const aio::aio_sigset mask{.sigmask = nothing<sigset_t>(), .sigsetsize = 8};
  EXPECT_EQ(ctx.get_masked(&mask), -EFAULT);
  const auto file = doorbell::test::temporary_file("hello");
  std::array<char, 8> text{};
  aio::iocb_abi read = aio::prep_pread(file.get(), text.data(), text.size(), 0);
  ASSERT_EQ(ctx.submit(&read), 1);
  EXPECT_EQ(ctx.get(nothing<aio::io_event>(), nullptr), -EFAULT);
  EXPECT_EQ(ctx.get(read_only<aio::io_event>(), nullptr), -EFAULT);
  EXPECT_EQ(ctx.get(&event, nullptr), 1) << "the event that could not be stored must still be there";
}

TEST(strict, invalid_pointers_are_efault) {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_STRICT", "1", 1);
    expect_works();
    expect_refuses();
  });
}

TEST(strict, invalid_pointers_are_efault_where_process_vm_calls_are_refused) {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_STRICT", "1", 1);
    doorbell::test::refuse(SYS_process_vm_readv, EPERM);
    doorbell::test::refuse(SYS_process_vm_writev, ENOSYS);
    expect_works();
    expect_refuses();
  });
}

TEST(strict, vectors_are_read_where_process_vm_calls_are_refused) {
  doorbell::test::in_child([] {
    doorbell::test::refuse(SYS_process_vm_readv, EPERM);
    expect_works();
  });
}

// Oracle: the results are the same after the first thread has ended. From then on process_vm_readv(2) finds no memory
// for the process's number, which is that of the first thread.
TEST(strict, invalid_pointers_are_efault_after_the_first_thread_has_ended) {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_STRICT", "1", 1);
    std::thread{[] {
      char byte = 'x';
      char copy = 0;
      const iovec from{.iov_base = &byte, .iov_len = 1};
      const iovec to{.iov_base = &copy, .iov_len = 1};
      while (::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) == 1) std::this_thread::yield();
      expect_works();
      expect_refuses();
      ::_exit(testing::Test::HasFailure() ? EXIT_FAILURE : EXIT_SUCCESS);
    }}.detach();
    ::syscall(SYS_exit, 0);
  });
}

}  // namespace
