// SPDX-License-Identifier: Apache-2.0
//
// File operations in loops of several threads, in loops that stop, fork or are destroyed, and cancelled concurrently
// with their completion.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <ranges>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/counting_allocator.hpp"
#include "support/files.hpp"
#include "support/sanitizer.hpp"
#include "support/witness.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::test::counting_allocator;
using doorbell::test::memory_count;
using doorbell::test::witness;

constexpr std::string_view letters = "abcdefghijklmnop";

TEST(asio_file_end, a_destroyed_context_destroys_the_handlers_of_operations_in_flight) {
  doorbell::test::pipe_ends pipe;
  std::array<char, 8> block{};
  bool called = false;
  bool gone = false;
  {
    net::io_context io;
    stream_file reader{io, pipe.read.release()};
    for (int i = 0; i < 2; ++i)
      reader.async_read_some(net::buffer(block), [&, seen = witness{gone}](error_code, std::size_t) { called = true; });
    io.poll();
    reader.async_write_some(net::buffer(block), [&](error_code, std::size_t) { called = true; });
  }
  EXPECT_TRUE(gone);
  EXPECT_FALSE(called);
  pollfd without_reader{.fd = pipe.write.get(), .events = 0, .revents = 0};
  EXPECT_EQ(::poll(&without_reader, 1, 0), 1) << "the descriptor is still open";
}

// Oracle: each handler gets bad_descriptor, and the signal of its slot has no effect.
TEST(asio_file_end, an_operation_with_a_slot_on_a_closed_file_fails_with_bad_descriptor) {
  net::io_context io;
  net::cancellation_signal signal;
  std::array<char, 8> block{};
  std::vector<error_code> told;
  const auto tell = [&](error_code ec, std::size_t /*bytes*/) { told.push_back(ec); };
  random_access_file never_opened{io};
  never_opened.async_read_some_at(0, net::buffer(block), net::bind_cancellation_slot(signal.slot(), tell));
  stream_file closed{io, doorbell::test::temporary_file("text").release()};
  closed.close();
  closed.async_write_some(net::buffer(block), net::bind_cancellation_slot(signal.slot(), tell));
  signal.emit(net::cancellation_type::all);
  io.run();
  EXPECT_EQ(told, (std::vector<error_code>{net::error::bad_descriptor, net::error::bad_descriptor}));
}

// Oracle: the signal ends the read that waits, although a later operation with the same slot was refused immediately.
TEST(asio_file_end, a_refused_operation_leaves_its_slot_to_one_that_waits) {
  doorbell::test::pipe_ends pipe;
  net::io_context io;
  net::cancellation_signal signal;
  std::array<char, 8> block{};
  std::vector<error_code> told;
  stream_file reader{io, pipe.read.release()};
  random_access_file never_opened{io};
  reader.async_read_some(
      net::buffer(block),
      net::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::size_t) { told.push_back(ec); }));
  io.poll();
  never_opened.async_read_some_at(0, net::buffer(block),
                                  net::bind_cancellation_slot(signal.slot(), [](error_code, std::size_t) {}));
  signal.emit(net::cancellation_type::all);
  io.run();
  EXPECT_EQ(told, (std::vector<error_code>{net::error::operation_aborted}));
}

net::awaitable<void> read_for_ever(int fd, witness) {
  stream_file own{co_await net::this_coro::executor, fd};
  std::array<char, 8> block{};
  for (;;) co_await own.async_read_some(net::buffer(block), net::use_awaitable);
}

TEST(asio_file_end, a_coroutine_that_owns_its_file_and_its_buffer_is_destroyed_with_the_context) {
  doorbell::test::pipe_ends pipe;
  bool gone = false;
  {
    net::io_context io;
    net::co_spawn(io, read_for_ever(pipe.read.release(), witness{gone}), net::detached);
    io.poll();
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
    io.poll();
  }
  EXPECT_TRUE(gone);
}

TEST(asio_file_end, a_stopped_loop_continues_after_restart) {
  doorbell::test::pipe_ends pipe;
  std::array<char, 8> block{};
  net::io_context io;
  stream_file reader{io, pipe.read.release()};
  int called = 0;
  reader.async_read_some(net::buffer(block), [&](error_code, std::size_t) { ++called; });
  io.poll();
  EXPECT_FALSE(io.stopped()) << "out of work with a read outstanding";
  io.stop();
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(io.run(), 0U);
  io.restart();
  io.run();
  EXPECT_EQ(called, 1);
}

TEST(asio_file_end, a_loop_returns_when_the_last_handler_has_been_called) {
  net::io_context io;
  random_access_file file{io, doorbell::test::temporary_file(letters).release()};
  doorbell::test::pipe_ends pipe;
  stream_file reader{io, pipe.read.release()};
  std::array<char, 8> block{};
  int called = 0;
  // While the pipe's read is outstanding, the loop waits in the reactor for the context's descriptor. If both reads end
  // in a posted turn (file_proactor::turn()), that turn must stop the wait, or run() would not return.
  reader.async_read_some(net::buffer(block), [&](error_code, std::size_t) { ++called; });
  io.poll();
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  file.async_read_some_at(0, net::buffer(block.data() + 1, 1), [&](error_code, std::size_t) { ++called; });
  io.run();
  EXPECT_EQ(called, 2);
}

TEST(asio_file_end, memory_is_from_the_associated_allocator_and_freed_before_the_handler_is_called) {
  memory_count memory;
  net::io_context io;
  random_access_file file{io, doorbell::test::temporary_file(letters).release()};
  std::array<char, 8> block{};
  std::size_t live_in_handler = 1;
  auto handler = [&, owned = std::make_unique<int>(1)](error_code, std::size_t) { live_in_handler = memory.live; };
  file.async_read_some_at(0, net::buffer(block),
                          net::bind_allocator(counting_allocator<std::byte>{memory}, std::move(handler)));
  EXPECT_GT(memory.live, 0U);
  io.run();
  EXPECT_EQ(live_in_handler, 0U);
  EXPECT_EQ(memory.ever, 1U) << "one operation, one allocation";
}

/// Reads one letter after the other. The handler of each read starts the next one, in any thread of the loop.
class chain {
 public:
  chain(random_access_file& file, std::size_t seed, int length) : file_{file}, at_{seed}, left_{length} {}
  void start() {
    if (left_-- == 0) return;
    at_ = (at_ * 5 + 3) % letters.size();
    file_.async_read_some_at(at_, net::buffer(&letter_, 1), [this](error_code ec, std::size_t n) {
      if (!ec && n == 1 && letter_ == letters[at_]) ++good;
      start();
    });
  }
  int good = 0;

 private:
  random_access_file& file_;
  std::size_t at_;
  int left_;
  char letter_ = 0;
};

// Oracle: each chain completes all its reads, and each read returns the letter at its offset.
TEST(asio_file_end, reads_in_a_loop_of_several_threads_all_complete) {
  constexpr int length = 500;
  net::io_context io;
  const auto file = doorbell::test::temporary_file(letters);
  std::vector<std::unique_ptr<random_access_file>> files;
  std::vector<std::unique_ptr<chain>> chains;
  for (std::size_t i = 0; i < 8; ++i) {
    files.push_back(std::make_unique<random_access_file>(io, ::dup(file.get())));
    chains.push_back(std::make_unique<chain>(*files.back(), i, length));
    chains.back()->start();
  }
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&] { io.run(); });
  }
  for (const auto& each : chains) EXPECT_EQ(each->good, length);
}

/// A pipe, and a read of one byte, which either a write or a cancel ends.
class contested_read {
 public:
  explicit contested_read(net::io_context& io) : reader_{io, pipe_.read.release()} {}

  void start() {
    reader_.async_read_some(net::buffer(&byte_, 1),
                            net::bind_cancellation_slot(signal_.slot(), [this](error_code ec, std::size_t n) {
                              ++ended;
                              got += static_cast<int>(n);
                              if (ec == net::error::operation_aborted) ++cancelled;
                            }));
  }
  void write() const { EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1); }
  void cancel() { signal_.emit(net::cancellation_type::terminal); }
  /// Reads the byte that a cancelled read has left in the pipe.
  void take_rest() {
    if (got + left < ended) left += static_cast<int>(reader_.read_some(net::buffer(&byte_, 1)));
  }

  int ended = 0;
  int got = 0;
  int cancelled = 0;
  int left = 0;

 private:
  doorbell::test::pipe_ends pipe_;
  stream_file reader_;
  net::cancellation_signal signal_;
  char byte_ = 0;
};

int decisions() {
  const char* const asked = std::getenv("DOORBELL_DECISIONS");
  return asked != nullptr ? std::atoi(asked) : 2000;
}

// Oracle: each read ends exactly once. It either has got its byte, or was cancelled and has left the byte in the pipe.
TEST(asio_file_end, a_cancel_concurrent_with_a_completion_ends_the_read_exactly_once) {
  constexpr int concurrent_reads = 32;
  net::io_context io{1};
  std::vector<std::unique_ptr<contested_read>> reads;
  for (int i = 0; i < concurrent_reads; ++i) reads.push_back(std::make_unique<contested_read>(io));
  const int rounds = decisions() / concurrent_reads;
  std::atomic<int> round{0};
  std::atomic<int> begun{0};
  std::atomic<int> written{0};
  std::jthread writer{[&] {
    for (int i = 1; i <= rounds; ++i) {
      round.wait(i - 1);
      for (const auto& each : reads) {
        each->write();
        begun.store(i);
      }
      written.store(i);
      written.notify_one();
    }
  }};
  for (int i = 1; i <= rounds; ++i) {
    for (const auto& each : reads) each->start();
    io.restart();
    io.poll();
    round.store(i);
    round.notify_one();
    // The writer goes from front to back, and this thread cancels from back to front. In even rounds the writer begins
    // first.
    while (i % 2 == 0 && begun.load() < i) std::this_thread::yield();
    for (const auto& each : std::views::reverse(reads)) each->cancel();
    io.run();
    written.wait(i - 1);
    for (const auto& each : reads) {
      each->take_rest();
      ASSERT_EQ(each->ended, i);
      ASSERT_EQ(each->left, each->cancelled);
      ASSERT_EQ(each->got + each->left, i);
    }
  }
  int cancelled = 0;
  for (const auto& each : reads) cancelled += each->cancelled;
  RecordProperty("decisions", rounds * concurrent_reads);
  RecordProperty("cancelled", cancelled);
}

TEST(asio_file_end, after_a_fork_the_read_in_flight_is_aborted_in_the_child_and_completes_in_the_parent) {
  if (doorbell::test::sanitized)
    GTEST_SKIP() << "a sanitizer does not support fork(2) in a process with threads: support/sanitizer.hpp";
  doorbell::test::pipe_ends pipe;
  std::array<char, 8> block{};
  net::io_context io;
  stream_file reader{io, pipe.read.release()};
  random_access_file file{io, doorbell::test::temporary_file(letters).release()};
  error_code ended = net::error::would_block;
  std::size_t read = 0;
  reader.async_read_some(net::buffer(block.data(), 1), [&](error_code ec, std::size_t) { ended = ec; });
  io.poll();
  file.async_read_some_at(0, net::buffer(block.data() + 1, 4), [&](error_code, std::size_t n) { read = n; });
  io.notify_fork(net::execution_context::fork_prepare);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    io.notify_fork(net::execution_context::fork_child);
    io.run();
    ::_exit(ended == net::error::operation_aborted && read == 4 ? 0 : 1);
  }
  io.notify_fork(net::execution_context::fork_parent);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  io.run();
  EXPECT_FALSE(ended);
  EXPECT_EQ(read, 4U);
}

}  // namespace
