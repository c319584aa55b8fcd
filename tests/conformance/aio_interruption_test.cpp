// SPDX-License-Identifier: Apache-2.0
//
// A program that submits reads and waits in other system calls meanwhile. Oracle: if no signal handler runs, no wait of
// the program fails with EINTR.
//
// Each test runs in its own thread: the destruction of an io_uring interrupts the threads that have used it, and the
// ring may be that of an earlier test.
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "aio_row.hpp"
#include "support/blocks.hpp"

namespace doorbell::test {
namespace {

constexpr std::size_t file_blocks = 64;
constexpr long wait_ns = 1'000'000;

template <class Body>
void in_own_thread(Body body) {
  const std::jthread own{std::move(body)};
}

/// System calls that wait, each for a millisecond in which no event occurs. Each function returns whether the call was
/// interrupted. If no handler has run, the kernel restarts some of them (poll, select, the sleeps, semaphores), but not
/// the others.
class waits {
 public:
  waits() {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets_.data()), 0);
    const timeval timeout{.tv_sec = 0, .tv_usec = wait_ns / 1000};
    EXPECT_EQ(::setsockopt(sockets_[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
    EXPECT_EQ(::setsockopt(sockets_[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    const std::string some(4096, 'x');
    while (::send(sockets_[0], some.data(), some.size(), MSG_DONTWAIT) > 0) {
    }
    const sockaddr_un unnamed{.sun_family = AF_UNIX, .sun_path = {}};
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&unnamed), sizeof unnamed.sun_family), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    EXPECT_EQ(::setsockopt(listener_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
    EXPECT_EQ(::sem_init(&semaphore_, 0, 0), 0);
    EXPECT_GE(semaphores_, 0);
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signal_, &mask_before_);
  }
  ~waits() {
    for (const int each : sockets_) ::close(each);
    ::sem_destroy(&semaphore_);
    ::semctl(semaphores_, 0, IPC_RMID);
    pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  }
  waits(const waits&) = delete;
  waits& operator=(const waits&) = delete;

  [[nodiscard]] std::vector<std::pair<std::string_view, std::function<bool()>>> all() {
    return {{"epoll_wait", [this] { return epoll(); }},
            {"epoll_pwait", [this] { return epoll_masked(); }},
            {"poll", [] { return is_interrupted(::poll(nullptr, 0, wait_ns / 1'000'000)); }},
            {"ppoll", [] { return is_interrupted(::ppoll(nullptr, 0, &length, nullptr)); }},
            {"select", [] { return select(); }},
            {"pselect", [] { return is_interrupted(::pselect(0, nullptr, nullptr, nullptr, &length, nullptr)); }},
            {"sem_timedwait", [this] { return semaphore(); }},
            {"semtimedop", [this] { return semaphore_of_system_v(); }},
            {"nanosleep", [] { return is_interrupted(::nanosleep(&length, nullptr)); }},
            {"clock_nanosleep", [] { return sleep_until(); }},
            {"sigtimedwait", [this] { return is_interrupted(::sigtimedwait(&signal_, nullptr, &length)); }},
            {"recv", [this] { return receive(); }},
            {"send", [this] { return is_interrupted(::send(sockets_[0], "x", 1, 0)); }},
            {"accept", [this] { return is_interrupted(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }}};
  }

 private:
  static constexpr timespec length{.tv_sec = 0, .tv_nsec = wait_ns};

  static bool is_interrupted(long result) { return result < 0 && errno == EINTR; }
  static timespec end_by(clockid_t clock) {
    timespec until{};
    ::clock_gettime(clock, &until);
    until.tv_nsec += wait_ns;
    if (until.tv_nsec >= 1'000'000'000) {
      until.tv_nsec -= 1'000'000'000;
      ++until.tv_sec;
    }
    return until;
  }

  bool epoll() {
    epoll_event none{};
    return is_interrupted(::epoll_wait(epoll_.get(), &none, 1, wait_ns / 1'000'000));
  }
  bool epoll_masked() {
    epoll_event none{};
    return is_interrupted(::epoll_pwait(epoll_.get(), &none, 1, wait_ns / 1'000'000, &signal_));
  }
  static bool select() {
    timeval left{.tv_sec = 0, .tv_usec = wait_ns / 1000};
    return is_interrupted(::select(0, nullptr, nullptr, nullptr, &left));
  }
  bool semaphore() {
    const auto until = end_by(CLOCK_REALTIME);
    return is_interrupted(::sem_timedwait(&semaphore_, &until));
  }
  bool semaphore_of_system_v() {
    sembuf down{.sem_num = 0, .sem_op = -1, .sem_flg = 0};
    return is_interrupted(::semtimedop(semaphores_, &down, 1, &length));
  }
  static bool sleep_until() {
    const auto until = end_by(CLOCK_MONOTONIC);
    return ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR;
  }
  bool receive() {
    char none = 0;
    return is_interrupted(::recv(sockets_[0], &none, 1, 0));
  }

  const base::unique_fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  const base::unique_fd listener_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::array<int, 2> sockets_{-1, -1};  // the send buffer of the first is full
  sem_t semaphore_{};
  const int semaphores_ = ::semget(IPC_PRIVATE, 1, 0600);
  sigset_t signal_{};
  sigset_t mask_before_{};
};

class aio_interruption : public aio_row {
 protected:
  aio_interruption() {
    const std::string text(file_blocks * block, 'x');
    EXPECT_EQ(::pwrite(stored_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    ::fsync(stored_.get());
    ::posix_fadvise(stored_.get(), 0, 0, POSIX_FADV_RANDOM);
  }

  [[nodiscard]] bool make_direct() const { return ::fcntl(stored_.get(), F_SETFL, O_DIRECT) == 0; }

  /// @return a read of a block that is not in the page cache.
  iocb_abi cold_read() {
    ::posix_fadvise(stored_.get(), 0, 0, POSIX_FADV_DONTNEED);
    const auto offset = next_block_++ * 7 % file_blocks * block;
    return aio::prep_pread(stored_.get(), room_.get(), block, static_cast<std::int64_t>(offset));
  }

  /// For each kind of wait: submits reads, one after the other, waits while the read is in flight, and fetches the
  /// event after that.
  void wait_elsewhere(aio_context_t ctx, const std::function<iocb_abi(iocb_abi)>& change) {
    for (const auto& [name, wait] : waits_.all()) {
      unsigned interrupted = 0;
      for (int round = 0; round < 25; ++round) {
        auto read = change(cold_read());
        ASSERT_EQ(submit(ctx, read), 1);
        do interrupted += wait() ? 1U : 0U;
        while (events_there(ctx).empty());
      }
      EXPECT_EQ(interrupted, 0U) << name;
    }
  }
  void wait_elsewhere(aio_context_t ctx) {
    wait_elsewhere(ctx, [](iocb_abi read) { return read; });
  }
  void wait_elsewhere_with_eventfd(aio_context_t ctx) {
    wait_elsewhere(ctx, [&](iocb_abi read) { return with_resfd(read, efd_.get()); });
  }

  int wait_in_epoll() { return waits_.all().front().second() ? 1 : 0; }

  base::unique_fd stored_ = temporary_file();
  blocks room_ = blocks_of('-');
  const base::unique_fd efd_ = kernel_eventfd();

 private:
  waits waits_;
  std::uint64_t next_block_ = 0;
};
ON_BOTH_SIDES(aio_interruption);

TEST_P(aio_interruption, no_wait_is_interrupted_while_a_direct_read_is_in_flight) {
  if (!make_direct()) GTEST_SKIP() << "no O_DIRECT in this file system";
  in_own_thread([&] { wait_elsewhere(new_context()); });
}

TEST_P(aio_interruption, no_wait_is_interrupted_while_a_direct_read_with_an_eventfd_is_in_flight) {
  if (!make_direct()) GTEST_SKIP() << "no O_DIRECT in this file system";
  in_own_thread([&] { wait_elsewhere_with_eventfd(new_context()); });
}

TEST_P(aio_interruption, no_wait_is_interrupted_while_a_cold_read_is_in_flight) {
  in_own_thread([&] { wait_elsewhere(new_context()); });
}

TEST_P(aio_interruption, no_wait_is_interrupted_while_a_cold_read_with_an_eventfd_is_in_flight) {
  in_own_thread([&] { wait_elsewhere_with_eventfd(new_context()); });
}

// A program that sleeps in epoll_wait until its eventfd is signalled, and then fetches the event.
TEST_P(aio_interruption, no_wait_for_the_eventfd_of_a_direct_read_is_interrupted) {
  if (!make_direct()) GTEST_SKIP() << "no O_DIRECT in this file system";
  in_own_thread([&] {
    const auto ctx = new_context();
    const base::unique_fd loop{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event event{.events = EPOLLIN, .data = {}};
    ASSERT_EQ(::epoll_ctl(loop.get(), EPOLL_CTL_ADD, efd_.get(), &event), 0);
    unsigned interrupted = 0;
    for (int round = 0; round < 200; ++round) {
      iocb_abi read = with_resfd(cold_read(), efd_.get());
      ASSERT_EQ(submit(ctx, read), 1);
      while (::epoll_wait(loop.get(), &event, 1, -1) < 0 && errno == EINTR) ++interrupted;
      std::uint64_t count = 0;
      ASSERT_EQ(::read(efd_.get(), &count, sizeof count), 8);
      EXPECT_EQ(count, 1U);
      ASSERT_EQ(events_there(ctx).size(), 1U);
    }
    EXPECT_EQ(interrupted, 0U);
  });
}

// The first thread has slept in io_getevents, so its reads may go to the ring. Then another thread fetches the events.
TEST_P(aio_interruption, no_wait_is_interrupted_after_another_thread_has_fetched_events) {
  if (!make_direct()) GTEST_SKIP() << "no O_DIRECT in this file system";
  in_own_thread([&] {
    const auto ctx = new_context();
    const auto read_some = [&] {
      for (int n = 0; n < 50; ++n) EXPECT_EQ(result_of(ctx, cold_read()), std::int64_t{block});
    };
    read_some();
    in_own_thread(read_some);
    wait_elsewhere(ctx);
  });
}

// The thread has slept in io_getevents, so its next read may go to the ring: the library cannot know that the thread is
// about to wait elsewhere. The library notices when the thread has polled for events a few times, and slept in between.
TEST_P(aio_interruption, beyond_few_waits_are_interrupted_in_a_thread_that_slept_for_events) {
  if (!make_direct()) GTEST_SKIP() << "no O_DIRECT in this file system";
  in_own_thread([&] {
    const auto ctx = new_context();
    for (int n = 0; n < 50; ++n) EXPECT_EQ(result_of(ctx, cold_read()), std::int64_t{block});
    int interrupted = 0;
    for (int round = 0; round < 25; ++round) {
      auto read = cold_read();
      ASSERT_EQ(submit(ctx, read), 1);
      for (bool there = false; !there; there = !events_there(ctx).empty()) interrupted += wait_in_epoll();
    }
    EXPECT_LE(interrupted, beyond(0, 3));
    wait_elsewhere(ctx);
  });
}

}  // namespace
}  // namespace doorbell::test
