// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::watch: the loop reads counts from kernel descriptors and adds them to a doorbell eventfd. The
// descriptors are kernel eventfds, timers and pipes. Each test is bounded by counts.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <doorbell/notifier.hpp>

#include "support/child.hpp"
#include "support/counting_allocator.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/refused_calls.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::test::give;
using doorbell::test::is_open;
using doorbell::test::kernel_eventfd;
using doorbell::test::no_more_fds;
using doorbell::test::pipe_ends;
using doorbell::test::take;
using doorbell::test::unique_fd;

constexpr auto max = doorbell::eventfd::max;

auto append_to(std::vector<error_code>& told) {
  return [&told](error_code ec) { told.push_back(ec); };
}

std::uint64_t count_of(const doorbell::eventfd& efd) { return efd.info().count; }

class asio_watch : public testing::Test {
 protected:
  /// @return a duplicate of the kernel eventfd `others`, which a watch reads and owns.
  [[nodiscard]] int source() const { return ::dup(others.get()); }

  unique_fd others = kernel_eventfd(0, 0);
  net::io_context io{1};
  doorbell::eventfd efd;
  std::vector<error_code> ends;
};

TEST_F(asio_watch, adds_counts_that_were_written_before_and_after_its_creation) {
  ASSERT_TRUE(give(others.get(), 40));
  const doorbell::asio::watch watch{io, efd, source()};
  EXPECT_EQ(count_of(efd), 0U) << "the eventfd was signalled outside the loop";
  io.poll();
  EXPECT_EQ(count_of(efd), 40U);
  ASSERT_TRUE(give(others.get(), 2));
  io.poll();
  EXPECT_EQ(efd.read(), 42U);
  EXPECT_EQ(take(others.get()), 0U);
}

TEST_F(asio_watch, does_not_change_the_flags_of_the_file) {
  const doorbell::asio::watch watch{io, efd, source()};
  io.poll();
  ASSERT_TRUE(give(others.get(), 1));
  io.poll();
  EXPECT_EQ(::fcntl(others.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(asio_watch, reads_a_semaphore_until_its_count_is_0) {
  constexpr unsigned permits = 200;
  const auto semaphore = kernel_eventfd(permits, EFD_SEMAPHORE);
  const doorbell::asio::watch watch{io, efd, ::dup(semaphore.get())};
  io.poll();
  EXPECT_EQ(count_of(efd), permits);
}

// Oracle: one handler adds only some of the counts, so that other handlers can run in between.
TEST_F(asio_watch, of_a_semaphore_with_many_counts_does_not_delay_other_handlers) {
  constexpr unsigned permits = 1000;
  const auto semaphore = kernel_eventfd(permits, EFD_SEMAPHORE);
  const doorbell::asio::watch watch{io, efd, ::dup(semaphore.get())};
  while (count_of(efd) == 0) io.run_one();
  EXPECT_LT(count_of(efd), permits);
  while (count_of(efd) < permits) io.run_one();
  EXPECT_EQ(take(semaphore.get()), 0U);
}

// Before Linux 6.10, a timerfd does not support preadv2(2) with RWF_NOWAIT. Oracle: counts, the absence of counts and
// the hangup are noticed as with a kernel that supports it.
TEST_F(asio_watch, works_where_the_kernel_does_not_support_rwf_nowait) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  doorbell::test::in_child([this] {
    doorbell::test::refuse(SYS_preadv2, EOPNOTSUPP);
    net::io_context loop;
    pipe_ends pipe;
    ASSERT_TRUE(give(pipe.write.get(), 3));
    ASSERT_TRUE(give(others.get(), 40));
    const doorbell::asio::watch of_eventfd{loop, efd, source()};
    doorbell::asio::watch of_pipe{loop, efd, pipe.read.release()};
    of_pipe.async_wait(append_to(ends));
    loop.poll();
    EXPECT_EQ(count_of(efd), 43U);
    ASSERT_TRUE(give(others.get(), 2));
    ASSERT_TRUE(give(pipe.write.get(), 4));
    loop.poll();
    EXPECT_EQ(count_of(efd), 49U);
    EXPECT_TRUE(ends.empty());
    pipe.write.reset();
    loop.poll();
    EXPECT_EQ(ends, std::vector<error_code>{net::error::eof});
    ASSERT_TRUE(give(others.get(), 1));
    loop.poll();
    EXPECT_EQ(count_of(efd), 50U) << "the other watch continues";
  });
}

TEST_F(asio_watch, counts_the_expirations_of_a_timer) {
  unique_fd timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
  const itimerspec each{.it_interval = {.tv_sec = 0, .tv_nsec = 100'000}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
  ASSERT_EQ(::timerfd_settime(timer.get(), 0, &each, nullptr), 0);
  const doorbell::asio::watch watch{io, efd, timer.release()};
  while (count_of(efd) < 5) io.run_one();
}

TEST_F(asio_watch, a_count_that_does_not_fit_waits_for_a_reader_and_so_do_the_writers) {
  const doorbell::asio::watch watch{io, efd, source()};
  efd.write(max - 1);
  ASSERT_TRUE(give(others.get(), 5));
  io.poll();
  ASSERT_TRUE(give(others.get(), 6));
  io.poll();
  EXPECT_EQ(take(others.get()), 6U) << "the source was read, although the earlier count does not fit";
  EXPECT_EQ(efd.read(), max);
  io.poll();
  EXPECT_EQ(efd.read(), 4U);
  ASSERT_TRUE(give(others.get(), 7));
  io.poll();
  EXPECT_EQ(efd.read(), 7U);
}

TEST_F(asio_watch, the_largest_count_is_added_in_parts) {
  const doorbell::asio::watch watch{io, efd, source()};
  efd.write(100);
  ASSERT_TRUE(give(others.get(), max));
  io.poll();
  EXPECT_EQ(efd.read(), max);
  io.poll();
  EXPECT_EQ(efd.read(), 100U);
}

TEST_F(asio_watch, an_overflowed_eventfd_stays_overflowed_and_the_loop_sleeps) {
  const doorbell::asio::watch watch{io, efd, source()};
  efd.signal(max);
  efd.signal();
  ASSERT_TRUE(give(others.get(), 5));
  io.poll();
  EXPECT_EQ(efd.poll() & POLLERR, static_cast<unsigned>(POLLERR));
  EXPECT_EQ(io.poll(), 0U);
}

TEST_F(asio_watch, close_with_a_count_that_does_not_fit_overflows_the_eventfd) {
  doorbell::asio::watch watch{io, efd, source()};
  efd.write(max);
  ASSERT_TRUE(give(others.get(), 5));
  io.poll();
  watch.close();
  EXPECT_EQ(efd.poll() & POLLERR, static_cast<unsigned>(POLLERR));
}

TEST_F(asio_watch, ends_with_eof_after_the_last_writer_and_closes_its_handle_of_the_eventfd) {
  pipe_ends pipe;
  ASSERT_TRUE(give(pipe.write.get(), 3));
  ASSERT_TRUE(give(pipe.write.get(), 4));
  pipe.write.reset();
  doorbell::asio::eventfd listener{io, efd};
  doorbell::asio::watch watch{io, std::move(efd), pipe.read.release()};
  watch.async_wait(append_to(ends));
  std::uint64_t counted = 0;
  listener.async_read([&](error_code, std::uint64_t count) { counted = count; });
  io.run();
  EXPECT_EQ(counted, 7U);
  EXPECT_EQ(ends, std::vector<error_code>{net::error::eof});
  EXPECT_TRUE(watch.is_open());
  io.restart();
  watch.async_wait(append_to(ends));
  listener.async_wait(POLLIN, append_to(ends));
  io.run();
  EXPECT_EQ(ends, std::vector<error_code>(3, net::error::eof));
}

TEST_F(asio_watch, ends_with_bad_message_if_the_bytes_are_no_count) {
  const pipe_ends pipe;
  ASSERT_EQ(::write(pipe.write.get(), "short", 5), 5);
  doorbell::asio::watch watch{io, efd, ::dup(pipe.read.get())};
  watch.async_wait(append_to(ends));
  io.run();
  EXPECT_EQ(ends, std::vector<error_code>{boost::system::errc::make_error_code(boost::system::errc::bad_message)});
  EXPECT_EQ(count_of(efd), 0U);
}

// A signalfd refuses a read of 8 bytes.
TEST_F(asio_watch, ends_with_the_error_of_a_failed_read) {
  sigset_t one;
  ::sigemptyset(&one);
  ::sigaddset(&one, SIGUSR2);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &one, nullptr), 0);
  unique_fd signals{::signalfd(-1, &one, SFD_CLOEXEC)};
  doorbell::asio::watch watch{io, efd, signals.release()};
  watch.async_wait(append_to(ends));
  io.poll();
  EXPECT_TRUE(ends.empty());
  ASSERT_EQ(::pthread_kill(::pthread_self(), SIGUSR2), 0);
  io.poll();
  EXPECT_EQ(ends, std::vector<error_code>{net::error::invalid_argument});
  const timespec none{};
  EXPECT_EQ(::sigtimedwait(&one, nullptr, &none), SIGUSR2);
  ASSERT_EQ(::pthread_sigmask(SIG_UNBLOCK, &one, nullptr), 0);
}

TEST_F(asio_watch, a_refused_descriptor_stays_open_and_belongs_to_the_caller) {
  doorbell::asio::watch watch{io};
  error_code ec;
  const unique_fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  watch.assign(efd, file.get(), ec);
  EXPECT_EQ(ec, boost::system::errc::operation_not_permitted);
  watch.assign(efd, -1, ec);
  EXPECT_EQ(ec, net::error::bad_descriptor);
  doorbell::eventfd closed;
  closed.close();
  watch.assign(closed, others.get(), ec);
  EXPECT_EQ(ec, net::error::bad_descriptor);
  {
    const no_more_fds from_here;
    watch.assign(efd, others.get(), ec);
  }
  EXPECT_EQ(ec, boost::system::errc::too_many_files_open);
  EXPECT_THROW((doorbell::asio::watch{io, efd, file.get()}), boost::system::system_error);
  EXPECT_FALSE(watch.is_open());
  EXPECT_TRUE(is_open(file.get()) && is_open(others.get()));

  watch.assign(efd, source(), ec);
  EXPECT_FALSE(ec);
  watch.assign(efd, others.get(), ec);
  EXPECT_EQ(ec, net::error::already_open);
}

TEST_F(asio_watch, returns_the_error_code_that_it_sets) {
  doorbell::asio::watch watch{io.get_executor()};
  EXPECT_EQ(watch.get_executor(), net::any_io_executor{io.get_executor()});
  const auto closed = doorbell::eventfd::closed();
  // The error that a call sets and returns. The variable contains another error before the call.
  const auto said_by = [](auto call) {
    error_code ec = net::error::operation_not_supported;
    const error_code returned = call(ec);
    EXPECT_EQ(returned, ec);
    return ec;
  };
  EXPECT_EQ(said_by([&](auto& ec) { return watch.close(ec); }), net::error::bad_descriptor);
  EXPECT_EQ(said_by([&](auto& ec) { return watch.cancel(ec); }), net::error::bad_descriptor);
  EXPECT_EQ(said_by([&](auto& ec) { return watch.assign(closed, others.get(), ec); }), net::error::bad_descriptor);
  EXPECT_EQ(said_by([&](auto& ec) { return watch.assign(efd, -1, ec); }), net::error::bad_descriptor);
  EXPECT_EQ(said_by([&](auto& ec) { return watch.assign(efd, source(), ec); }), error_code{});
  EXPECT_EQ(said_by([&](auto& ec) { return watch.assign(efd, others.get(), ec); }), net::error::already_open);
}

TEST_F(asio_watch, destruction_in_a_callback_aborts_the_program_with_a_message) {
  const auto destroy = [] {
    net::io_context loop;
    std::optional<doorbell::asio::watch> destroyed{std::in_place, loop, doorbell::eventfd{},
                                                   kernel_eventfd().release()};
    const doorbell::eventfd other;
    const doorbell::notifier watcher{other, [&](auto&) { destroyed.reset(); }};
    other.signal();
  };
  EXPECT_EXIT(destroy(), testing::KilledBySignal(SIGABRT), "doorbell: an asio::watch .* \\(docs/asio.md, Threads\\)\n");
}

TEST_F(asio_watch, close_ends_the_reading_the_waits_and_the_work) {
  const int fd = source();
  doorbell::asio::watch watch{io, efd, fd};
  EXPECT_EQ(watch.native_handle(), fd);
  watch.async_wait(append_to(ends));
  io.poll();
  ASSERT_TRUE(give(others.get(), 1));
  watch.close();
  EXPECT_FALSE(is_open(fd));
  EXPECT_FALSE(watch.is_open());
  io.run();
  EXPECT_EQ(count_of(efd), 0U);
  EXPECT_EQ(ends, std::vector<error_code>{net::error::operation_aborted});
  io.restart();
  watch.async_wait(append_to(ends));
  EXPECT_EQ(ends.size(), 1U) << "the handler was called inside the initiating function";
  io.run();
  EXPECT_EQ(ends.back(), net::error::bad_descriptor);
}

TEST_F(asio_watch, cancel_ends_the_waits_but_not_the_watch) {
  doorbell::asio::watch watch{io, efd, source()};
  watch.async_wait(append_to(ends));
  watch.cancel();
  io.poll();
  EXPECT_EQ(ends, std::vector<error_code>{net::error::operation_aborted});
  ASSERT_TRUE(give(others.get(), 9));
  io.poll();
  EXPECT_EQ(count_of(efd), 9U);
}

TEST_F(asio_watch, a_released_descriptor_keeps_the_counts_that_were_not_added) {
  doorbell::asio::watch watch{io, efd, source()};
  ASSERT_TRUE(give(others.get(), 1));
  io.poll();
  ASSERT_TRUE(give(others.get(), 2));
  const unique_fd released{watch.release()};
  io.run();
  EXPECT_EQ(count_of(efd), 1U);
  EXPECT_EQ(take(released.get()), 2U);
}

TEST_F(asio_watch, a_moved_watch_continues) {
  doorbell::asio::watch first{io, efd, source()};
  auto second = std::move(first);
  first = doorbell::asio::watch{io};
  EXPECT_FALSE(first.is_open());
  ASSERT_TRUE(give(others.get(), 1));
  io.poll();
  EXPECT_EQ(count_of(efd), 1U);
  second = doorbell::asio::watch{io};
  ASSERT_TRUE(give(others.get(), 1));
  io.run();
  EXPECT_EQ(count_of(efd), 1U);
}

TEST_F(asio_watch, holds_a_handle_of_the_eventfd_until_it_is_closed) {
  bool released = false;
  const doorbell::notifier end{efd, [](auto&) {}, [&] { released = true; }};
  doorbell::asio::watch watch{io, std::move(efd), source()};
  io.poll();
  EXPECT_FALSE(released);
  watch.close();
  EXPECT_TRUE(released);
}

TEST_F(asio_watch, can_outlive_its_loop) {
  auto short_lived = std::make_unique<net::io_context>();
  doorbell::asio::watch watch{*short_lived, efd, source()};
  const doorbell::eventfd full;
  full.write(max);
  const doorbell::asio::watch waits_for_room{*short_lived, full, kernel_eventfd(1).release()};
  auto told = watch.async_wait(net::use_future);
  short_lived->poll();
  short_lived.reset();
  ASSERT_TRUE(give(others.get(), 1));
  EXPECT_EQ(count_of(efd), 0U);
  EXPECT_THROW(told.get(), std::future_error) << "the handler was called instead of destroyed";
  watch.close();
}

TEST_F(asio_watch, works_with_any_executor) {
  net::thread_pool pool{2};
  auto strand = net::make_strand(pool.get_executor());
  doorbell::asio::basic_watch<decltype(strand)> watch{strand, efd, source()};
  ASSERT_TRUE(give(others.get(), 3));
  EXPECT_EQ(efd.read(), 3U);
  watch.close();
  pool.join();

  using awaited_watch = net::use_awaitable_t<>::as_default_on_t<doorbell::asio::watch>;
  awaited_watch awaited{io, efd, source()};
  std::exception_ptr aborted;
  net::co_spawn(io, awaited.async_wait(), [&](std::exception_ptr thrown) { aborted = std::move(thrown); });
  io.poll();
  awaited.close();
  io.poll();
  EXPECT_TRUE(aborted);
}

TEST_F(asio_watch, moves_to_another_type_of_executor_with_its_waits) {
  const auto strand = net::make_strand(io);
  doorbell::asio::basic_watch<std::remove_const_t<decltype(strand)>> first{strand, efd, source()};
  first.async_wait(append_to(ends));
  doorbell::asio::watch second{std::move(first)};
  EXPECT_FALSE(first.is_open());
  ASSERT_TRUE(give(others.get(), 1));
  io.poll();
  EXPECT_EQ(count_of(efd), 1U);
  EXPECT_TRUE(ends.empty());
  second = doorbell::asio::basic_watch<std::remove_const_t<decltype(strand)>>{strand};
  io.run();
  EXPECT_EQ(ends, std::vector<error_code>{net::error::operation_aborted});

  io.restart();
  pipe_ends pipe;
  auto awaited = net::use_awaitable_t<>::as_default_on(doorbell::asio::watch{io, efd, pipe.read.release()});
  pipe.write.reset();
  std::exception_ptr ended;
  net::co_spawn(io, awaited.async_wait(), [&](std::exception_ptr thrown) { ended = std::move(thrown); });
  io.run();
  EXPECT_TRUE(ended);
}

TEST_F(asio_watch, a_slot_ends_all_waits_that_are_bound_to_it_but_not_the_watch) {
  doorbell::asio::watch watch{io, efd, source()};
  std::vector<error_code> unbound;
  watch.async_wait(append_to(unbound));
  for (const auto type :
       {net::cancellation_type::terminal, net::cancellation_type::partial, net::cancellation_type::total}) {
    net::cancellation_signal stop;
    for (int i = 0; i < 2; ++i) watch.async_wait(net::bind_cancellation_slot(stop.slot(), append_to(ends)));
    stop.emit(type);
    io.poll();
    EXPECT_EQ(std::exchange(ends, {}), std::vector<error_code>(2, net::error::operation_aborted));
  }
  ASSERT_TRUE(give(others.get(), 1));
  io.poll();
  EXPECT_EQ(count_of(efd), 1U);
  EXPECT_TRUE(unbound.empty());
}

TEST_F(asio_watch, a_wait_uses_the_executor_and_the_allocator_of_its_handler) {
  net::io_context others_loop;
  doorbell::test::memory_count memory;
  doorbell::asio::watch watch{io, efd, source()};
  watch.async_wait(
      net::bind_executor(others_loop.get_executor(),
                         net::bind_allocator(doorbell::test::counting_allocator<std::byte>{memory}, append_to(ends))));
  EXPECT_EQ(memory.ever, 1U);
  error_code ec;
  EXPECT_EQ(watch.close(ec), error_code{});
  io.run();
  EXPECT_TRUE(ends.empty());
  others_loop.run();
  EXPECT_EQ(ends, std::vector<error_code>{net::error::operation_aborted});
  EXPECT_EQ(memory.live, 0U);
}

TEST_F(asio_watch, a_count_that_is_added_creates_no_eventfd) {
  const doorbell::asio::watch watch{io, efd, source()};
  io.poll();
  const auto before = doorbell::eventfd{}.info().id;
  ASSERT_TRUE(give(others.get(), 3));
  while (count_of(efd) < 3) io.run_one();
  EXPECT_EQ(doorbell::eventfd{}.info().id, before + 1);
}

TEST_F(asio_watch, a_destroyed_loop_destroys_a_watch_that_a_handler_owns) {
  const int fd = source();
  {
    net::io_context owner;
    auto watch = std::make_shared<doorbell::asio::watch>(owner, efd, fd);
    watch->async_wait([watch](error_code) {});
  }
  EXPECT_FALSE(is_open(fd));
}

TEST_F(asio_watch, calls_in_a_callback_are_refused) {
  doorbell::asio::watch watch{io, efd, source()};
  std::vector<error_code> refused(4);
  const doorbell::eventfd other;
  const doorbell::notifier inside{other, [&](auto&) {
                                    watch.close(refused[0]);
                                    watch.cancel(refused[1]);
                                    EXPECT_EQ(watch.release(refused[2]), -1);
                                    doorbell::asio::watch{io}.assign(efd, others.get(), refused[3]);
                                  }};
  other.signal();
  const auto deadlock = boost::system::errc::make_error_code(boost::system::errc::resource_deadlock_would_occur);
  EXPECT_EQ(refused, std::vector<error_code>(4, deadlock));
}

// Oracle: the counts that are read add up to the counts that were written, and a reader of the eventfd sees the memory
// that the writer changed before its last write(2).
TEST_F(asio_watch, a_flood_of_another_thread_is_counted_exactly) {
  constexpr std::uint64_t signals = 5000;
  std::uint64_t written = 0;  // not atomic: the kernel's counter orders the accesses
  std::optional<doorbell::asio::watch> watch{std::in_place, io, efd, source()};
  doorbell::asio::eventfd listener{io, efd};
  std::uint64_t counted = 0;
  const auto read_next = [&](const auto& again) -> void {
    listener.async_read([&, again](error_code ec, std::uint64_t count) {
      EXPECT_FALSE(ec);
      counted += count;
      if (counted < signals) return again(again);
      EXPECT_EQ(written, signals);
      watch.reset();
    });
  };
  read_next(read_next);
  const std::jthread writer{[&] {
    for (std::uint64_t i = 0; i < signals; ++i) {
      if (i + 1 == signals) written = signals;
      EXPECT_TRUE(give(others.get(), 1));
    }
  }};
  io.run();
  EXPECT_EQ(counted, signals);
}

// Oracle: as above; the writer is another process, which sleeps in write(2) whenever there is no room.
TEST_F(asio_watch, the_reader_and_a_writer_in_another_process_wait_for_each_other) {
  constexpr int times = 50;
  const pid_t child = doorbell::test::start_child([&] {
    for (int i = 0; i < times; ++i) EXPECT_TRUE(give(others.get(), max));
  });
  const doorbell::asio::watch watch{io, efd, source()};
  for (int i = 0; i < times; ++i) {
    while (count_of(efd) < max) io.run_one();
    EXPECT_EQ(efd.read(), max);
  }
  io.poll();
  EXPECT_EQ(count_of(efd), 0U);
  doorbell::test::expect_success(child);
}

// Oracle: whenever the close happens, each count is in exactly one place: in the eventfd, or still in the source. After
// a close, no count is added, although another thread runs the loop.
TEST_F(asio_watch, close_against_reading_loses_and_doubles_no_count) {
  constexpr int rounds = 100;
  auto work = std::make_optional(net::make_work_guard(io));
  std::uint64_t added = 0;
  {
    const std::jthread loop{[&] { io.run(); }};
    const std::jthread writer{[&] {
      for (int i = 0; i < rounds; ++i) EXPECT_TRUE(give(others.get(), 1));
    }};
    for (int i = 0; i < rounds; ++i) {
      doorbell::asio::watch watch{io, efd, source()};
      watch.async_wait([](error_code) {});
      if (i % 3 == 0) std::this_thread::yield();
      watch.close();
      const auto at_close = count_of(efd);
      std::this_thread::yield();
      EXPECT_EQ(count_of(efd), at_close);
      added = at_close;
    }
    work.reset();
  }
  EXPECT_EQ(added + take(others.get()), static_cast<std::uint64_t>(rounds));
}

}  // namespace
