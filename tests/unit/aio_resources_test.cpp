// SPDX-License-Identifier: Apache-2.0
//
// io_setup with little locked memory or few descriptors, which rings need. The kernel's io_setup succeeds there,
// because its contexts need neither. Each case runs in its own process, which chooses the engine by itself.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "support/by_engine.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"
#include "support/supervised_child.hpp"

DOORBELL_TEST_FORKS

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::in_child;
using doorbell::test::supervised_call;
using doorbell::test::supervised_child;

constexpr unsigned events = 256;
constexpr std::size_t few = 10;
constexpr std::size_t many = 300;
constexpr rlim_t kib = 1024;
constexpr rlim_t memory_limits[] = {8192 * kib, 64 * kib, 0};

void limit(int what, rlim_t most) {
  const rlimit both{.rlim_cur = most, .rlim_max = most};
  ASSERT_EQ(::setrlimit(static_cast<__rlimit_resource>(what), &both), 0);
}

/// Makes the process an unprivileged user's. Linux 5.10 and 6.18 charge such a user for rings, and do not charge root.
void become_unprivileged() {
  constexpr uid_t unused_user = 64'999;
  ASSERT_TRUE(::geteuid() != 0 || ::setuid(unused_user) == 0);
}

/// Creates contexts, and has each of them read a file by its engine.
std::vector<aio::context> create_and_use(std::size_t count) {
  const auto file = doorbell::test::temporary_file("hello, world");
  std::vector<aio::context> made;
  std::vector<std::array<char, 16>> texts(count);
  for (auto& text : texts) {
    made.emplace_back(events);
    auto read = doorbell::test::by_engine(aio::prep_pread(file.get(), text.data(), text.size(), 7));
    made.back().submit({&read});
    std::array<aio::io_event, 1> done{};
    EXPECT_EQ(made.back().get_events(1, done, 20s).size(), 1U);
    EXPECT_EQ(done[0].res, 5);
    EXPECT_EQ((std::string{text.data(), 5}), "world");
  }
  return made;
}

std::int64_t with_rings(const std::vector<aio::context>& made) {
  return std::ranges::count(made, "io_uring", &aio::context::engine);
}

void expect_handles(std::size_t count) {
  std::vector<aio::aio_context_t> handles(count);
  for (auto& each : handles) EXPECT_EQ(aio::io_setup(events, &each), 0);
  for (const auto each : handles) EXPECT_EQ(aio::io_destroy(each), 0);
}

class aio_resources : public testing::Test {
 protected:
  aio_resources() {
    ::unsetenv("DOORBELL_ENGINE");
    ::setenv("DOORBELL_AIO_MAX_NR", "1000000", 1);
  }
};

TEST_F(aio_resources, setup_succeeds_with_any_limit_of_locked_memory) {
  for (const auto most : memory_limits) {
    SCOPED_TRACE(most);
    in_child([&] {
      limit(RLIMIT_MEMLOCK, most);
      become_unprivileged();
      create_and_use(few);
      expect_handles(few);
    });
  }
}

TEST_F(aio_resources, setup_succeeds_with_64_descriptors) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  in_child([] {
    limit(RLIMIT_NOFILE, 64);
    const auto made = create_and_use(2 * few);
    EXPECT_GT(with_rings(made), 0);
    expect_handles(few);
  });
  in_child([] {
    limit(RLIMIT_NOFILE, 64);
    const auto made = create_and_use(many);
    EXPECT_GT(with_rings(made), 0);
    EXPECT_EQ(made.back().engine(), "threads");
  });
}

/// Charges rings against a limit, whatever the kernel in use does. The charge of a closed ring is not refunded.
class charged_memory {
 public:
  explicit charged_memory(rlim_t most) : left_{most} {}

  int charge(pid_t process, const supervised_call& setup) {
    io_uring_params wanted{};
    const iovec here{.iov_base = &wanted, .iov_len = sizeof wanted};
    const iovec there{.iov_base = reinterpret_cast<void*>(setup.arguments[1]), .iov_len = sizeof wanted};
    if (::process_vm_readv(process, &here, 1, &there, 1, 0) != static_cast<ssize_t>(sizeof wanted)) return EFAULT;
    const auto bytes = size_of(static_cast<unsigned>(setup.arguments[0]), wanted);
    if (bytes > left_) return ENOMEM;
    left_ -= bytes;
    ++rings_;
    return supervised_child::pass;
  }
  [[nodiscard]] std::int64_t rings() const { return rings_; }

 private:
  static rlim_t whole_pages(rlim_t bytes) {
    const auto page = static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
    return (bytes + page - 1) / page * page;
  }
  // The two queues with their counters, and the array of submissions.
  static rlim_t size_of(unsigned entries, const io_uring_params& wanted) {
    constexpr rlim_t counters = 320;
    const rlim_t submissions = std::bit_ceil(entries);
    const rlim_t completions =
        (wanted.flags & IORING_SETUP_CQSIZE) != 0 ? std::bit_ceil(wanted.cq_entries) : 2 * submissions;
    return whole_pages(counters + completions * sizeof(io_uring_cqe) + submissions * sizeof(std::uint32_t)) +
           whole_pages(submissions * sizeof(io_uring_sqe));
  }

  rlim_t left_;
  std::int64_t rings_ = 0;
};

/// Runs `body` in a child whose rings are charged.
/// @return the number of rings that the child got.
template <class Body>
std::int64_t in_charged_child(rlim_t most, Body body) {
  const long calls[] = {SYS_io_uring_setup};
  charged_memory memory{most};
  supervised_child child{calls, body};
  child.supervise(40s, [&](const supervised_call& setup) { return memory.charge(child.pid(), setup); });
  return memory.rings();
}

class aio_charged_rings : public aio_resources {
 protected:
  void SetUp() override {
    if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  }
};

// Oracle: of the contexts that are objects, those that have a ring report io_uring, and no others. The contexts by
// handle are created last, and get the remaining rings.
TEST_F(aio_charged_rings, setup_succeeds_with_any_limit_and_contexts_report_their_engine) {
  auto* const said = static_cast<std::int64_t*>(
      ::mmap(nullptr, sizeof(std::int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (const auto most : memory_limits) {
    SCOPED_TRACE(most);
    const auto rings = in_charged_child(most, [&] {
      *said = with_rings(create_and_use(few));
      expect_handles(few);
    });
    EXPECT_GE(rings, *said);
    EXPECT_EQ(*said, most == 0 ? 0 : std::min<std::int64_t>(rings, few));
  }
  ::munmap(said, sizeof *said);
}

// Oracle: each context has a ring.
TEST_F(aio_charged_rings, of_300_contexts_fit_into_8_mib) {
  const auto rings = in_charged_child(8192 * kib, [] {
    const auto made = create_and_use(many);
    EXPECT_EQ(with_rings(made), static_cast<std::int64_t>(many));
  });
  EXPECT_EQ(rings, static_cast<std::int64_t>(many));
}

}  // namespace
