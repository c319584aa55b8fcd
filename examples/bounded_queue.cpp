// SPDX-License-Identifier: Apache-2.0
//
// A bounded queue from threads to coroutines, with two semaphores: one counts the free places, the other the items. A
// thread that finds no place sleeps; a coroutine that finds no item is suspended.
#include <doorbell/asio/semaphore.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace {

template <class T>
class bounded_queue {
 public:
  bounded_queue(boost::asio::io_context& io, unsigned places) : places_{io, places}, items_{io, 0} {}

  /// For threads. Sleeps while there is no free place.
  void push(T item) {
    places_.handle().read();
    {
      const std::lock_guard held{mutex_};
      queue_.push_back(std::move(item));
      longest_ = std::max(longest_, queue_.size());
    }
    items_.release();
  }

  /// For coroutines. Suspends the coroutine while there is no item.
  boost::asio::awaitable<T> pop() {
    co_await items_.async_acquire(boost::asio::use_awaitable);
    auto item = take_first();
    places_.release();
    co_return item;
  }

  /// The greatest length that the queue has had.
  std::size_t longest() const {
    const std::lock_guard held{mutex_};
    return longest_;
  }

 private:
  T take_first() {
    const std::lock_guard held{mutex_};
    auto first = std::move(queue_.front());
    queue_.pop_front();
    return first;
  }

  doorbell::asio::semaphore places_;
  doorbell::asio::semaphore items_;
  mutable std::mutex mutex_;
  std::deque<T> queue_;      // guarded by mutex_
  std::size_t longest_ = 0;  // guarded by mutex_
};

constexpr unsigned places = 8;
constexpr int numbers = 500;
constexpr int consumers = 3;

using number_queue = bounded_queue<std::optional<int>>;  // an empty item ends its consumer

struct totals {
  int items = 0;
  int sum = 0;
};

boost::asio::awaitable<void> consume(number_queue& queue, totals& total) {
  while (const auto number = co_await queue.pop()) {
    ++total.items;
    total.sum += *number;
  }
}

void produce(number_queue& queue) {
  {
    const auto push_all = [&queue] {
      for (int i = 1; i <= numbers; ++i) queue.push(i);
    };
    const std::jthread first{push_all};
    const std::jthread second{push_all};
  }
  for (int i = 0; i < consumers; ++i) queue.push(std::nullopt);
}

}  // namespace

int main() {  // NOLINT(bugprone-exception-escape): what goes wrong here may end the program
  boost::asio::io_context io;
  number_queue queue{io, places};
  totals total;
  for (int i = 0; i < consumers; ++i) boost::asio::co_spawn(io, consume(queue, total), boost::asio::detached);
  const std::jthread producer{[&queue] { produce(queue); }};
  io.run();
  const bool is_bounded = queue.longest() <= places;
  std::printf("%d items, sum %d, %s\n", total.items, total.sum, is_bounded ? "never too many" : "too many");
  return is_bounded ? 0 : 1;
}
