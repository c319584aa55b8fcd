// SPDX-License-Identifier: Apache-2.0
//
// A thread pool computes results. A coroutine in a loop takes all available results each time the event is set.
#include <doorbell/asio/event.hpp>

#include <cstdint>
#include <cstdio>
#include <mutex>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace {

class results {
 public:
  explicit results(boost::asio::io_context& io) : added_{io} {}

  /// May be called by any thread.
  void add(std::int64_t result) {
    {
      const std::lock_guard held{mutex_};
      list_.push_back(result);
    }
    added_.set();
  }

  /// For the loop: takes all results, at least one. If the event is set several times before the loop runs, the loop is
  /// woken once and takes several results. A wait may complete because of a set() whose results an earlier take() has
  /// taken already. The list is then empty, and take() waits again.
  boost::asio::awaitable<std::vector<std::int64_t>> take() {
    for (;;) {
      co_await added_.async_wait(boost::asio::use_awaitable);
      const std::lock_guard held{mutex_};
      if (!list_.empty()) co_return std::exchange(list_, {});
    }
  }

 private:
  doorbell::asio::auto_reset_event added_;
  std::mutex mutex_;
  std::vector<std::int64_t> list_;  // guarded by mutex_
};

boost::asio::awaitable<void> add_up(results& squares, std::size_t expected) {
  std::size_t taken = 0;
  std::int64_t sum = 0;
  while (taken < expected)
    for (const auto square : co_await squares.take()) {
      ++taken;
      sum += square;
    }
  std::printf("%zu squares, sum %lld\n", taken, static_cast<long long>(sum));
}

}  // namespace

int main() {  // NOLINT(bugprone-exception-escape): what goes wrong here may end the program
  constexpr int numbers = 1000;
  boost::asio::io_context io;
  results squares{io};
  boost::asio::co_spawn(io, add_up(squares, numbers), boost::asio::detached);
  boost::asio::thread_pool pool{4};
  for (std::int64_t i = 1; i <= numbers; ++i) boost::asio::post(pool, [&squares, i] { squares.add(i * i); });
  io.run();
  pool.join();
}
