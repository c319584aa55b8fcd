// SPDX-License-Identifier: Apache-2.0
//
// A table of faults. Each cell runs in its own process, in which one system call of the library fails with one error at
// certain times. The calls of the workload itself do not fail.
//
// DOORBELL_FAULT_CELL selects one cell of each table, by the name that a failure prints after that of the engine:
// "clone3 EPERM from_5th".
//
// Oracle: each accepted request completes exactly once, the bytes are right, no call hangs, and afterwards the process
// has no more descriptors, threads and memory than before.
#include <doorbell/aio_calls.hpp>
#include <doorbell/aio_engine.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "../../aio/engine/engine_names.hpp"
#include "fault_plan.hpp"
#include "support/eventually.hpp"
#include "support/inventory.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"
#include "support/supervised_child.hpp"
#include "workload.hpp"

DOORBELL_TEST_FORKS

namespace doorbell::test {
namespace {

using namespace std::chrono_literals;
using manner = workload::manner;

std::vector<long> epoll_waits() {
#ifdef SYS_epoll_wait
  return {SYS_epoll_pwait, SYS_epoll_wait};
#else
  return {SYS_epoll_pwait};
#endif
}

const std::vector<call_kind>& call_kinds() {
  static const std::vector<call_kind> kinds{{"io_uring_setup", {SYS_io_uring_setup}},
                                            {"io_uring_enter", {SYS_io_uring_enter}},
                                            {"mmap", {SYS_mmap}},
                                            {"eventfd2", {SYS_eventfd2}},
                                            {"epoll_create1", {SYS_epoll_create1}},
                                            {"epoll_ctl", {SYS_epoll_ctl}},
                                            {"epoll_wait", epoll_waits(), false, true},
                                            {"preadv2", {SYS_preadv2}, true},
                                            {"pread64", {SYS_pread64}, true},
                                            {"pwritev2", {SYS_pwritev2}, true},
                                            {"fsync", {SYS_fsync, SYS_fdatasync}},
                                            {"clone3", {SYS_clone3}},
                                            {"clone", {SYS_clone3, SYS_clone}},
                                            {"fcntl", {SYS_fcntl}},
                                            {"sendmsg", {SYS_sendmsg}, true},
                                            {"recvmsg", {SYS_recvmsg}, true},
                                            {"socketpair", {SYS_socketpair}},
                                            {"unshare", {SYS_unshare}},
                                            {"close_range", {SYS_close_range}},
                                            {"io_setup", {SYS_io_setup}},
                                            {"io_submit", {SYS_io_submit}},
                                            {"io_getevents", {SYS_io_getevents, SYS_io_pgetevents}, false, true},
                                            {"io_cancel", {SYS_io_cancel}}};
  return kinds;
}

struct cell {
  const call_kind& call;
  error_kind error;
  schedule when;

  [[nodiscard]] std::string name() const { return std::string{call.name} + " " + error.name + " " + when.name; }
  /// The greatest number of failures; 0: no limit. The library repeats a call that is interrupted, waits until a file
  /// is ready if a transfer would block, and repeats a sleep. The kernel does not return these errors forever.
  [[nodiscard]] unsigned most() const {
    const bool is_retried = call.is_wait || error.number == EINTR || (error.number == EAGAIN && call.is_transfer);
    return is_retried && when.every == 1 ? 50 : 0;
  }
};

/// Some calls can only fail with EBADF, for a number that has been closed. The library treats each error of them as
/// EBADF, and does not use the lost descriptor any more. descriptors_closed_test tests that case.
bool can_fail(const supervised_call& asked) {
  if (asked.number == SYS_epoll_ctl) return asked.arguments[1] == EPOLL_CTL_ADD;
  if (asked.number == SYS_fcntl) return asked.arguments[1] == F_DUPFD || asked.arguments[1] == F_DUPFD_CLOEXEC;
  return true;
}

std::size_t memory_in_use() { return sanitized ? 0 : ::mallinfo2().uordblks; }

/// The cells that slower presets run.
bool is_sample(const error_kind& error, const schedule& when) {
  return (error.number == EAGAIN || error.number == EPERM) && when.first != 3 && when.first != 5;
}

class fault_table : public testing::TestWithParam<std::tuple<std::string_view, std::size_t>> {
 protected:
  void SetUp() override {
    if (!can_refuse()) GTEST_SKIP() << "no seccomp(2)";
    if (sanitized && call().name == std::string_view{"mmap"}) GTEST_SKIP() << "a sanitizer needs its own mappings";
  }

  [[nodiscard]] static std::string_view engine() { return std::get<0>(GetParam()); }
  [[nodiscard]] static const call_kind& call() { return call_kinds()[std::get<1>(GetParam())]; }

  void run(const cell& which) {
    SCOPED_TRACE(std::string{engine()} + " " + which.name());
    new (shared_) fault_state;
    auto& state = *shared_;
    supervised_child child{which.call.numbers, [&] { run_in_child(which); }};
    child.supervise(15s, [&](const supervised_call& asked) {
      if (!state.armed || (asked.thread == child.pid() && !state.inside)) return supervised_child::pass;
      if (!can_fail(asked)) return supervised_child::pass;
      if (!which.when.hits(++state.calls, state.failed, which.most())) return supervised_child::pass;
      ++state.failed;
      ++state.failed_in_all;
      return which.error.number;
    });
  }

  fault_state* const shared_ = static_cast<fault_state*>(
      ::mmap(nullptr, sizeof(fault_state), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

 private:
  /// Creates, uses and destroys a context.
  void use_one_context(int injected, manner how) {
    workload load{*shared_, injected};
    if (how == manner::faulty) shared_->arm();
    const int answer = load.set_up();
    if (answer == 0) {
      load.run(how);
      load.destroy();
    } else {
      EXPECT_TRUE(how == manner::faulty && call().name == std::string_view{"mmap"}) << "io_setup: " << answer;
    }
    shared_->disarm();
  }

  // The first faults occur while the library is used for the first time. The later ones occur when it has threads,
  // descriptors, and an existing context. After the faults, everything must work.
  void run_in_child(const cell& which) {
    if (engine() == names_of(aio::engine_kind::io_uring).name)
      ::unsetenv("DOORBELL_ENGINE");
    else
      ::setenv("DOORBELL_ENGINE", std::string{engine()}.c_str(), 1);
    const auto fresh = inventory::now();
    const int injected = which.error.number;
    // liburcu aborts if it has no memory when the first thread registers.
    aio::io_destroy(0);
    use_one_context(injected, manner::faulty);
    use_one_context(injected, manner::strict);
    const auto before = inventory::now();
    const auto memory_before = memory_in_use();
    shared_->descriptors = static_cast<unsigned>(before.descriptors - fresh.descriptors);
    {
      workload survivor{*shared_, injected};
      ASSERT_EQ(survivor.set_up(), 0);
      shared_->arm();
      survivor.run(manner::faulty);
      shared_->disarm();
      use_one_context(injected, manner::faulty);
      survivor.run(manner::strict);
      survivor.destroy();
    }
    EXPECT_EQ(inventory::settled(before), before);
    EXPECT_EQ(aio::aio_nr(), 0U);
    constexpr std::size_t noise = 64UL * 1024;
    // The last thread that uses a destroyed context frees its memory; this may be a thread of the library.
    EXPECT_TRUE(eventually([&] { return memory_in_use() <= memory_before + noise; }))
        << memory_in_use() << " bytes, before " << memory_before;
  }
};

TEST_P(fault_table, each_request_is_answered_once) {
  unsigned cells = 0;
  unsigned reached = 0;
  unsigned failed = 0;
  unsigned accepted = 0;
  unsigned errors = 0;
  unsigned refused = 0;
  unsigned kept = 0;
  const auto begun = std::chrono::steady_clock::now();
  const char* const only = std::getenv("DOORBELL_FAULT_CELL");
  const auto try_cell = [&](const error_kind& error, const schedule& when) {
    const cell one{call(), error, when};
    if (only != nullptr && one.name() != only) return;
    ++cells;
    run(one);
    if (shared_->failed_in_all > 0) ++reached;
    failed += shared_->failed_in_all;
    accepted += shared_->accepted;
    errors += shared_->answered_by_error;
    refused += shared_->refused;
    kept = std::max<unsigned>(kept, shared_->descriptors);
  };
  try_cell({"none", 0}, {"never", 0, 0});
  const bool is_called = shared_->calls_in_all > 0 || only != nullptr;
  for (const auto& error : injected_errors)
    for (const auto& when : schedules)
      if (is_called && (!sanitized || is_sample(error, when))) try_cell(error, when);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  std::printf(
      "%s, %s: %u cells in %.1f s, %u with faults; %u calls failed; requests: %u accepted, %u of them ended by an "
      "error, %u refused; %u descriptors kept\n",
      std::string{engine()}.c_str(), call().name, cells, took.count(), reached, failed, accepted, errors, refused,
      kept);
}

std::string name_of_table(const testing::TestParamInfo<std::tuple<std::string_view, std::size_t>>& info) {
  return std::string{std::get<0>(info.param)} + "_" + call_kinds()[std::get<1>(info.param)].name;
}

std::vector<std::string_view> engines() {
  std::vector<std::string_view> all;
  for (int number = 1; number <= aio::engine_count; ++number)
    all.push_back(names_of(static_cast<aio::engine_kind>(number)).name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(, fault_table,
                         testing::Combine(testing::ValuesIn(engines()),
                                          testing::Range(std::size_t{0}, call_kinds().size())),
                         name_of_table);

}  // namespace
}  // namespace doorbell::test
