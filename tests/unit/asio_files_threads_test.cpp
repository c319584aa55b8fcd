// SPDX-License-Identifier: Apache-2.0
//
// Files of one execution context, each used by its own thread, while other threads run the loop: operations are
// started, cancelled, and completed in the function that starts them; files are opened, moved, released and closed.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "support/eventually.hpp"
#include "support/files.hpp"
#include "support/immediately.hpp"
#include "support/inventory.hpp"
#include "support/random_programs.hpp"
#include "support/used_files.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::base::unique_fd;
using doorbell::test::random_numbers;

std::string pattern() {
  std::string made(8192, '\0');
  for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<char>('a' + i % 23);
  return made;
}

/// Counts the operations on one thread's files that have started and ended. Their handlers run in the threads of the
/// loop.
struct tally {
  std::atomic<int> started{0};
  std::atomic<int> ended{0};
  std::atomic<int> wrong{0};
};

/// The files of one thread, and random calls on them.
template <class Context>
class user {
 public:
  user(Context& context, int source, std::uint64_t seed) : source_{source}, random_{seed}, context_{context} {
    reopen();
    reader_.emplace(context_, pipe_.read.release());
  }

  void call() {
    switch (random_.below(10)) {
      case 0:
        return reopen();
      case 1:
        return move();
      case 2:
        return file_->cancel();
      case 3:
        return read_inline();
      case 4:
        return random_.one_in(2) ? sync() : use_eventfd();
      case 5:
      case 6:
        return read_pipe();
      default:
        return read();
    }
  }
  // Ends all operations, also those that wait for the pipe.
  void end() {
    reader_->close();
    file_->close();
  }
  [[nodiscard]] const tally& told() const { return told_; }

 private:
  struct room {
    std::array<char, 100> bytes{};
    std::size_t at = 0;
  };

  auto expect_pattern(const std::shared_ptr<room>& into) {
    ++told_.started;
    return [this, into](error_code ec, std::size_t bytes) {
      const auto& text = *text_;
      const bool right = std::equal(into->bytes.begin(), into->bytes.begin() + static_cast<std::ptrdiff_t>(bytes),
                                    text.begin() + static_cast<std::ptrdiff_t>(into->at));
      const bool told = ec ? bytes == 0 && ec == net::error::operation_aborted
                           : bytes == std::min(into->bytes.size(), text.size() - into->at);
      if (!right || !told) ++told_.wrong;
      ++told_.ended;
    };
  }
  [[nodiscard]] std::shared_ptr<room> somewhere() {
    const auto into = std::make_shared<room>();
    into->at = random_.below(text_->size());
    return into;
  }

  void reopen() {
    if (file_ && random_.one_in(2)) released_.emplace_back(file_->release());
    file_.emplace(context_, ::dup(source_));
  }
  void move() {
    random_access_file other{context_, ::dup(source_)};
    *file_ = std::move(other);
  }
  void read() {
    for (auto more = 1 + random_.below(4); more > 0; --more) {
      const auto into = somewhere();
      file_->async_read_some_at(into->at, net::buffer(into->bytes), expect_pattern(into));
    }
  }
  void read_inline() {
    const auto into = somewhere();
    file_->async_read_some_at(into->at, net::buffer(into->bytes), doorbell::test::immediately(expect_pattern(into)));
  }
  void sync() {
    ++told_.started;
    file_->async_sync_data([this](error_code ec) {
      if (ec && ec != net::error::operation_aborted) ++told_.wrong;
      ++told_.ended;
    });
  }
  // An eventfd that exists only during this call.
  void use_eventfd() {
    doorbell::asio::eventfd efd{context_};
    ++told_.started;
    efd.async_read([this](error_code ec, std::uint64_t count) {
      if (ec ? count != 0 || ec != net::error::operation_aborted : count != 1) ++told_.wrong;
      ++told_.ended;
    });
    efd.signal();
    if (random_.one_in(2)) efd.cancel();
  }
  // Some reads are queued behind another one. A cancellation slot or a byte ends one of them.
  void read_pipe() {
    const auto byte = std::make_shared<char>();
    ++told_.started;
    stop_.emplace_back(std::make_unique<net::cancellation_signal>());
    reader_->async_read_some(
        net::buffer(byte.get(), 1),
        net::bind_cancellation_slot(stop_.back()->slot(), [this, byte](error_code ec, std::size_t bytes) {
          if (ec ? bytes != 0 || ec != net::error::operation_aborted : bytes != 1) ++told_.wrong;
          ++told_.ended;
        }));
    if (random_.one_in(2) && ::write(pipe_.write.get(), "x", 1) != 1) ++told_.wrong;
    if (random_.one_in(3)) stop_.back()->emit(net::cancellation_type::terminal);
    if (random_.one_in(5)) reader_->cancel();
  }

  const std::shared_ptr<const std::string> text_ = std::make_shared<std::string>(pattern());
  const int source_;
  random_numbers random_;
  Context& context_;
  doorbell::test::pipe_ends pipe_;
  std::optional<random_access_file> file_;
  std::optional<stream_file> reader_;
  std::vector<std::unique_ptr<net::cancellation_signal>> stop_;
  std::vector<unique_fd> released_;  // open until the operations have ended
  tally told_;
};

// Oracle: each operation ends once, with the bytes of the file or as cancelled; then the loop has no work left, and no
// descriptor stays open.
template <class Context>
void expect_all_end(Context& context) {
  constexpr int calls = 1500;
  constexpr int users = 3;
  const auto there = doorbell::test::temporary_file_in(doorbell::test::memory_folder, pattern());
  std::vector<std::unique_ptr<user<Context>>> all;
  for (std::uint64_t i = 0; i < users; ++i) all.push_back(std::make_unique<user<Context>>(context, there.get(), i));
  {
    std::vector<std::jthread> threads;
    for (auto& each : all)
      threads.emplace_back([&each] {
        for (int i = 0; i < calls; ++i) each->call();
        each->end();
      });
  }
  for (const auto& each : all) {
    const auto& told = each->told();
    if (!doorbell::test::eventually([&] { return told.ended == told.started; })) {
      // Handlers that are called later would still use the files.
      std::cerr << "only " << told.ended << " of " << told.started << " operations have ended\n";
      std::abort();
    }
    EXPECT_EQ(told.wrong, 0);
  }
}

TEST(asio_files_threads, a_loop_that_two_threads_run_ends_each_operation_once) {
  if (!doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  doorbell::test::use_files_once();
  const doorbell::test::nothing_left_behind checks;
  net::io_context io;
  auto work = std::make_optional(net::make_work_guard(io));
  std::vector<std::jthread> loops;
  for (int i = 0; i < 2; ++i) loops.emplace_back([&] { io.run(); });
  expect_all_end(io);
  work.reset();
  loops.clear();
}

TEST(asio_files_threads, of_a_pool_all_operations_end_once) {
  if (!doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  doorbell::test::use_files_once();
  const doorbell::test::nothing_left_behind checks;
  net::thread_pool pool{2};
  expect_all_end(pool);
  pool.join();
}

}  // namespace
