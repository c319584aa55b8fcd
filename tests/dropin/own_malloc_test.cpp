// SPDX-License-Identifier: Apache-2.0
//
// A program with its own allocator. io_submit on a context that has been used before must not call this allocator,
// which may be slow, take locks, or wait for the program's I/O.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include <doorbell/base/unique_fd.hpp>

#include "queue.hpp"
#include "support/files.hpp"

// glibc's allocator, by the names that glibc provides for programs that replace it.
// NOLINTBEGIN(readability-identifier-naming,readability-inconsistent-declaration-parameter-name): the names are glibc's
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* old, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void __libc_free(void* old);
}

namespace {

thread_local constinit std::size_t calls __attribute__((tls_model("initial-exec"))) = 0;

}  // namespace

extern "C" {
void* malloc(std::size_t bytes) {
  ++calls;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  ++calls;
  return __libc_calloc(count, bytes);
}
void* realloc(void* old, std::size_t bytes) {
  ++calls;
  return __libc_realloc(old, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  ++calls;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** into, std::size_t alignment, std::size_t bytes) {
  *into = memalign(alignment, bytes);
  return *into != nullptr ? 0 : ENOMEM;
}
void free(void* old) {
  if (old != nullptr) ++calls;
  __libc_free(old);
}
}
// NOLINTEND(readability-identifier-naming,readability-inconsistent-declaration-parameter-name)

namespace {

/// The number of calls of the allocator in `body`.
template <class Body>
std::size_t calls_in(Body body) {
  const auto before = calls;
  body();
  return calls - before;
}

class own_malloc : public testing::Test {
 protected:
  /// Submits twice before it counts: the first requests of a context, a thread and a process may allocate.
  void expect_no_calls_to_submit(iocb& request) {
    for (int n = 0; n < 10; ++n) {
      const auto made = calls_in([&] { ASSERT_EQ(queue_.submit(request), 1); });
      io_event event{};
      ASSERT_EQ(queue_.next(event), 1);
      if (n > 1) {
        EXPECT_EQ(made, 0U) << "submission " << n;
      }
    }
  }

  doorbell::base::unique_fd file_ = doorbell::test::temporary_file("hello");
  std::array<char, 8> text_{};
  doorbell::test::queue queue_;
};

TEST_F(own_malloc, is_used_by_the_program) {
  EXPECT_GE(calls_in([] { std::free(std::malloc(1)); }), 1U);
}

TEST_F(own_malloc, is_not_called_to_submit_a_read) {
  iocb request;
  ::io_prep_pread(&request, file_.get(), text_.data(), text_.size(), 0);
  expect_no_calls_to_submit(request);
}

TEST_F(own_malloc, is_not_called_to_submit_a_write) {
  iocb request;
  ::io_prep_pwrite(&request, file_.get(), text_.data(), text_.size(), 0);
  expect_no_calls_to_submit(request);
}

TEST_F(own_malloc, is_not_called_to_submit_a_request_that_signals_an_eventfd) {
  const doorbell::base::unique_fd efd{::eventfd(0, 0)};
  iocb request;
  ::io_prep_pread(&request, file_.get(), text_.data(), text_.size(), 0);
  ::io_set_eventfd(&request, efd.get());
  expect_no_calls_to_submit(request);
}

}  // namespace
