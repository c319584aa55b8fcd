// SPDX-License-Identifier: Apache-2.0
#include "workload.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>

#include "support/by_engine.hpp"
#include "support/fds.hpp"

namespace doorbell::test {
namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto patience = 5s;  // for the completion of a request
// A call returns at most this long after its timeout: the library notices a lost descriptor within a second.
constexpr auto slowest_return = 1500ms;

base::unique_fd memory_file(std::size_t size) {
  base::unique_fd file{::memfd_create("doorbell-test", MFD_CLOEXEC)};
  const std::string text(size, 'm');
  EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return file;
}

timespec time_of(std::int64_t milliseconds) {
  return {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1'000'000};
}

}  // namespace

workload::workload(fault_state& state, int injected)
    : state_{state},
      injected_{injected},
      cached_{temporary_file(std::string(4 * size, 'c'))},
      direct_{temporary_file(std::string(2 * size, 'd'))},
      memory_{memory_file(2 * size)},
      resfd_{kernel_eventfd()} {
  ::fcntl(direct_.get(), F_SETFL, O_DIRECT);  // fails if the file system does not support it
}

template <class Call>
int workload::inside(Call call) {
  state_.inside = true;
  const int answer = call();
  state_.inside = false;
  return answer;
}

int workload::set_up() {
  return inside([&] { return aio::io_setup(16, &handle_); });
}

void workload::run(manner how) {
  if (++fill_ > 'z') fill_ = 'a';
  write_files(how);
  read_files(how);
  wait_and_cancel(how);
  expect_signals();
}

void workload::write_files(manner how) {
  written_.fill(fill_);
  direct_block_.fill(fill_);
  const std::array<iovec, 2> halves{iovec{written_.data(), size / 2}, iovec{written_.data() + size / 2, size / 2}};
  auto& plain = make_signalling("write", aio::prep_pwrite(cached_.get(), written_.data(), size, 0), size);
  auto& vectored = make("vectored write", by_engine(aio::prep_pwritev(cached_.get(), halves, size)), size);
  auto& direct = make_signalling("direct write", aio::prep_pwrite(direct_.get(), direct_block_.data(), size, 0), size);
  auto& memory = make("write to memory", aio::prep_pwrite(memory_.get(), written_.data(), size, 0), size);
  auto& sync = make("fdatasync", aio::prep_fdsync(cached_.get()), 0);
  submit({&plain, &vectored, &direct, &memory, &sync}, how);
  await({&plain, &vectored, &direct, &memory, &sync}, how);
  expect_content(plain, cached_.get(), 0, written_.data());
  expect_content(vectored, cached_.get(), size, written_.data());
  expect_content(memory, memory_.get(), 0, written_.data());
  // A read of the direct descriptor requires an aligned buffer.
  if (direct.now == op::state::answered && direct.res == size) {
    alignas(size) block found{};
    EXPECT_EQ(::pread(direct_.get(), found.data(), size, 0), static_cast<ssize_t>(size));
    EXPECT_EQ(found, direct_block_) << direct.name;
  }
}

void workload::read_files(manner how) {
  for (auto& each : read_) each.fill(0);
  direct_read_.fill(0);
  ::fdatasync(cached_.get());
  ::posix_fadvise(cached_.get(), 2 * size, size, POSIX_FADV_DONTNEED);
  const std::array<iovec, 2> halves{iovec{read_[1].data(), size / 2}, iovec{read_[1].data() + size / 2, size / 2}};
  auto& hot = make("read", aio::prep_pread(cached_.get(), read_[0].data(), size, 0), size);
  auto& vectored = make_signalling("vectored read", by_engine(aio::prep_preadv(cached_.get(), halves, size)), size);
  auto& cold = make("cold read", aio::prep_pread(cached_.get(), read_[2].data(), size, 2 * size), size);
  auto& direct = make_signalling("direct read", aio::prep_pread(direct_.get(), direct_read_.data(), size, size), size);
  auto& memory = make("read of memory", aio::prep_pread(memory_.get(), read_[3].data(), size, 0), size);
  auto& sync = make_signalling("fsync", aio::prep_fsync(direct_.get()), 0);
  submit({&hot, &vectored, &cold, &direct, &memory, &sync}, how);
  await({&hot, &vectored, &cold, &direct, &memory, &sync}, how);
  expect_content(hot, cached_.get(), 0, read_[0].data());
  expect_content(vectored, cached_.get(), size, read_[1].data());
  expect_content(cold, cached_.get(), 2 * size, read_[2].data());
  expect_content(memory, memory_.get(), 0, read_[3].data());
  if (direct.now == op::state::answered && direct.res == size) {
    EXPECT_EQ(std::ranges::count(direct_read_, 'd'), static_cast<std::int64_t>(size));
  }
}

void workload::wait_and_cancel(manner how) {
  auto& read = make_signalling("read of a pipe", aio::prep_pread(read_pipe_.read.get(), &byte_, 1, 0), 1);
  auto& poll = make_signalling("poll", aio::prep_poll(poll_pipe_.read.get(), POLLIN), POLLIN);
  auto& cancelled = make("cancelled poll", aio::prep_poll(idle_pipe_.read.get(), POLLIN), 0);
  auto& idle = make_signalling("endless read", aio::prep_pread(idle_pipe_.read.get(), &idle_byte_, 1, 0), -ECANCELED);
  submit({&read, &poll, &cancelled, &idle}, how);
  take_events(0, 0);
  take_events(1, 1);
  EXPECT_EQ(::write(read_pipe_.write.get(), &fill_, 1), 1);
  EXPECT_EQ(::write(poll_pipe_.write.get(), "x", 1), 1);
  await({&read, &poll}, how);
  char unread = 0;
  if (read.now == op::state::answered && read.res == 1) {
    EXPECT_EQ(byte_, fill_);
  } else {
    EXPECT_EQ(::read(read_pipe_.read.get(), &unread, 1), 1) << "a read that failed has taken the byte";
  }
  EXPECT_EQ(::read(poll_pipe_.read.get(), &unread, 1), 1);
  if (cancelled.now != op::state::accepted) return;
  const int answer = inside([&] { return aio::io_cancel(handle_, &cancelled.what, nullptr); });
  EXPECT_TRUE(answer == -EINPROGRESS || how == manner::faulty) << "io_cancel: " << answer;
  // A poll that has failed is no longer in flight.
  if (answer == -EINPROGRESS || answer == -EINVAL)
    await({&cancelled}, how);
  else
    EXPECT_EQ(answer, -EAGAIN);
}

void workload::destroy() {
  EXPECT_EQ(inside([&] { return aio::io_destroy(handle_); }), 0);
  handle_ = 0;
  for (auto& each : ops_)
    if (each.now == op::state::accepted) each.now = op::state::answered;
  expect_signals();
  ops_.clear();
}

workload::op& workload::make(const char* name, const aio::iocb_abi& what, std::int64_t expected) {
  return ops_.emplace_back(op{.name = name, .what = what, .expected = expected});
}

workload::op& workload::make_signalling(const char* name, const aio::iocb_abi& what, std::int64_t expected) {
  auto& made = make(name, what, expected);
  made.what.flags |= aio::iocb_abi::flag_resfd;
  made.what.resfd = static_cast<std::uint32_t>(resfd_.get());
  return made;
}

// Submits refused requests again, up to three times.
void workload::submit(std::vector<op*> ops, manner how) {
  int refusals = 0;
  while (!ops.empty()) {
    std::vector<aio::iocb_abi*> requests;
    for (auto* each : ops) requests.push_back(&each->what);
    const int taken = inside([&] { return aio::io_submit(handle_, std::ssize(requests), requests.data()); });
    for (int at = 0; at < taken; ++at) ops[static_cast<std::size_t>(at)]->now = op::state::accepted;
    if (taken > 0) {
      state_.accepted += static_cast<unsigned>(taken);
      ops.erase(ops.begin(), ops.begin() + taken);
      refusals = 0;
      continue;
    }
    ASSERT_NE(taken, 0);
    if (how == manner::strict) FAIL() << ops.front()->name << " is refused: " << std::strerror(-taken);
    if (++refusals < 3) continue;
    ops.front()->now = op::state::refused;
    ++state_.refused;
    ops.erase(ops.begin());
    refusals = 0;
  }
}

void workload::await(const std::vector<op*>& ops, manner how) {
  const auto until = clock::now() + patience;
  const auto is_awaited = [](const op* each) { return each->now == op::state::accepted; };
  while (std::ranges::any_of(ops, is_awaited)) {
    if (clock::now() > until) give_up("no answer", ops);
    take_events(1, 100);
  }
  for (const auto* each : ops)
    if (each->now == op::state::answered) expect_result(*each, how);
}

void workload::take_events(long min, std::int64_t milliseconds) {
  std::array<aio::io_event, 16> events{};
  auto timeout = time_of(milliseconds);
  const auto begun = clock::now();
  const int got = inside([&] { return aio::io_getevents(handle_, min, std::ssize(events), events.data(), &timeout); });
  EXPECT_LT(clock::now() - begun, std::chrono::milliseconds{milliseconds} + slowest_return);
  EXPECT_TRUE(got >= 0 || got == -EINTR) << "io_getevents: " << got;
  for (int at = 0; at < got; ++at) take(events[static_cast<std::size_t>(at)]);
}

void workload::take(const aio::io_event& event) {
  const auto found = std::ranges::find_if(ops_, [&](const auto& each) {
    return static_cast<const void*>(&each.what) == static_cast<const aio::iocb_abi*>(event.obj);
  });
  ASSERT_NE(found, ops_.end()) << "an event that belongs to no request";
  ASSERT_EQ(found->now, op::state::accepted) << found->name << ": a second event, or one of a refused request";
  found->now = op::state::answered;
  found->res = event.res;
  if (event.res < 0 && event.res != found->expected) ++state_.answered_by_error;
}

// A request may report the error with which its system call failed, or that no thread or descriptor was available.
void workload::expect_result(const op& done, manner how) const {
  if (done.res == done.expected) return;
  // A poll that ends with EINTR or ECANCELED has the result 0, like a cancelled poll.
  if (done.res == 0 && how == manner::faulty && done.what.lio_opcode == static_cast<std::uint16_t>(aio::opcode::poll))
    return;
  const auto error = static_cast<int>(-done.res);
  const bool is_allowed = how == manner::faulty && (error == injected_ || error == EAGAIN || error == ECANCELED);
  EXPECT_TRUE(is_allowed) << done.name << " has the result " << done.res << (error > 0 ? std::strerror(error) : "");
}

void workload::expect_content(const op& done, int fd, off_t from, const char* memory) {
  if (done.now != op::state::answered || done.res != static_cast<std::int64_t>(size)) return;
  block there{};
  EXPECT_EQ(::pread(fd, there.data(), size, from), static_cast<ssize_t>(size));
  EXPECT_EQ(std::memcmp(there.data(), memory, size), 0) << done.name << ": other bytes";
}

void workload::note_signals() { signals_ += doorbell::test::take(resfd_.get()); }

// Each completed request that names the eventfd has added 1 to it. A request that is meant to wait may have failed and
// signalled, too. Its event is available before its signal, so look() gets events after it has read the eventfd.
void workload::expect_signals() {
  const auto expected = [&] {
    return static_cast<std::uint64_t>(std::ranges::count_if(ops_, [](const auto& each) {
      return each.now == op::state::answered && (each.what.flags & aio::iocb_abi::flag_resfd) != 0;
    }));
  };
  const auto look = [&] {
    note_signals();
    if (handle_ != 0) take_events(0, 0);
    return signals_ >= expected();
  };
  const auto until = clock::now() + patience;
  while (!look() && clock::now() < until) {
    pollfd readable{.fd = resfd_.get(), .events = POLLIN, .revents = 0};
    ::poll(&readable, 1, 100);
  }
  EXPECT_EQ(signals_, expected()) << "the count of the eventfd";
}

void workload::give_up(const char* why, const std::vector<op*>& ops) const {
  std::string names;
  for (const auto* each : ops)
    if (each->now == op::state::accepted) names += std::string{" "} + each->name + ";";
  ADD_FAILURE() << why << ":" << names;
  ::_exit(EXIT_FAILURE);
}

}  // namespace doorbell::test
