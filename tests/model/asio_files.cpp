// SPDX-License-Identifier: Apache-2.0
//
// File operations as the loop sees them: started, cancelled, and shut down while they complete. The scenario plays the
// engine's device. A loop of the scenario replaces Asio's, and watches the context's descriptor with epoll.
#include <doorbell/asio/detail/file/file_proactor.hpp>
#include <doorbell/asio/detail/file/open_file.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <doorbell/base/mutex.hpp>
#include <doorbell/base/unique_fd.hpp>

#include "model_engine.hpp"
#include "scenario.hpp"

namespace doorbell::model {
namespace {

using asio::detail::file_access;
using asio::detail::file_op;
using asio::detail::file_proactor;
using asio::detail::file_use;
using asio::detail::open_file;

/// Unlike Asio's loop, it runs until as many operations have ended as the scenario requests.
class file_loop final : public file_proactor {
 public:
  file_loop() { watch_by_epoll(wakes_.get()); }

  void run_what_is_posted() {
    while (run_one_posted()) {
    }
  }
  /// Runs posted functions and turns until `operations` operations have ended. If several threads run the
  /// loop, each wakes the next when it returns.
  void run_until_ended(int operations) {
    for (;;) {
      run_what_is_posted();
      if (ended() >= operations) return wake();
      wait();
    }
  }
  /// The number of polls before the loop sleeps: busy polling.
  void look_busily(int times) noexcept { looks_ = times; }
  /// Call it when no thread runs the loop any more.
  void shut_down() {
    file_proactor::shut_down();
    for (auto* each : deferred_) each->destroy();
  }

  void finish(const boost::system::error_code& result, std::size_t bytes) {
    const base::mutex_lock held{lock_};
    ++ended_;
    if (result) ++failed_;
    bytes_ += bytes;
  }
  void forget() { ++forgotten_; }
  /// Makes a waiting thread check again.
  void wake() noexcept {
    const std::uint64_t one = 1;
    REQUIRE(::write(wakes_.get(), &one, sizeof one) == sizeof one);
  }

  [[nodiscard]] int ended() {
    const base::mutex_lock held{lock_};
    return ended_;
  }
  [[nodiscard]] int failed() const noexcept { return failed_; }
  [[nodiscard]] int forgotten() const noexcept { return forgotten_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  void post_turn() noexcept override {
    const base::mutex_lock held{lock_};
    turn_is_posted_ = true;
    wake();
  }
  bool is_to_look_again(bool moved) noexcept override {
    if (moved) looks_left_ = looks_;
    return looks_left_-- > 0;
  }
  void post_deferred(file_op& ended) noexcept override {
    const base::mutex_lock held{lock_};
    deferred_.push_back(&ended);
    wake();
  }
  void watch(int descriptor, std::error_code& /*ec*/) noexcept override { descriptor_ = descriptor; }
  // Like a one-shot edge-triggered reactor: an event that is already pending counts.
  void ask_when_readable() noexcept override {
    is_asked_.store(true, base::memory_order_relaxed);
    watch_by_epoll(descriptor_);
  }
  void stop_asking() noexcept override {
    const base::mutex_lock held{lock_};
    if (!is_asked_.load(base::memory_order_relaxed)) return;
    turn_is_due_ = true;
    wake();
  }

  void watch_by_epoll(int descriptor) noexcept {
    epoll_event asked{.events = EPOLLIN | EPOLLET, .data = {.fd = descriptor}};
    REQUIRE(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &asked) == 0);
  }
  // A descriptor that had an edge is added to the epoll again, so each turn follows one wait.
  void wait() {
    epoll_event said{};
    REQUIRE(::epoll_wait(epoll_.get(), &said, 1, -1) == 1);
    if (said.data.fd == wakes_.get()) return;
    answer();
  }
  void answer() {
    if (!is_asked_.exchange(false, base::memory_order_relaxed)) return;
    REQUIRE(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor_, nullptr) == 0);
    turn_when_readable();
  }

  bool run_one_posted() {
    lock_.lock();
    if (!deferred_.empty()) {
      auto* const next = deferred_.back();
      deferred_.pop_back();
      lock_.unlock();
      run_deferred(*next);
      return true;
    }
    const bool turn = std::exchange(turn_is_posted_, false);
    const bool due = !turn && std::exchange(turn_is_due_, false);
    lock_.unlock();
    if (turn) turn_by_post();
    if (due) answer();
    return turn || due;
  }

  base::unique_fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  base::unique_fd wakes_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  int descriptor_ = -1;
  int looks_ = 0;
  int looks_left_ = 0;
  base::atomic<bool> is_asked_{false};

  base::mutex lock_;
  std::vector<file_op*> deferred_;
  bool turn_is_posted_ = false;
  bool turn_is_due_ = false;
  int ended_ = 0;
  int failed_ = 0;
  int forgotten_ = 0;
  std::size_t bytes_ = 0;
};

/// A read that reports its end to the loop. Its handler starts `others` more reads, one after another.
class recorded_read final : public file_op {
 public:
  recorded_read(file_loop& loop, open_file& from, std::uint64_t key, int others = 0) noexcept
      : file_op{file_use::reads, key}, loop_{loop}, from_{from}, others_{others} {
    asio::detail::ask_for_transfer(request(), true, from.descriptor(), {&buffer_, 1});
    request().set_file(from.facts());
    file = &from;
  }

  void post() override {
    auto& loop = loop_;
    dispatch();
    loop.wake();
  }
  void dispatch() override {
    loop_.finish(result(), bytes());
    if (others_ > 0) loop_.start(*new recorded_read{loop_, from_, 0, others_ - 1});
    delete this;
  }
  void destroy() noexcept override {
    loop_.forget();
    delete this;
  }

 private:
  ~recorded_read() = default;

  file_loop& loop_;
  open_file& from_;
  const int others_;
  char memory_ = 0;
  iovec buffer_{.iov_base = &memory_, .iov_len = 1};
};

struct reading {
  explicit reading(file_access access = file_access::random, bool is_direct = false)
      : descriptor{::open("/dev/null", O_RDWR | O_CLOEXEC)} {
    std::error_code ec;
    auto facts = aio::file_facts::look_up(descriptor, ec);
    facts.is_direct = is_direct;
    file = std::make_shared<open_file>(loop.link(), descriptor, facts, access);
    // The first read creates the AIO context.
    begin_read();
    loop.run_what_is_posted();
    disk = device::take_last();
    disk->complete_one();
    loop.run_until_ended(1);
  }

  void begin_read(std::uint64_t key = 0) { loop.start(*new recorded_read{loop, *file, key}); }
  void begin_reads_in_a_row(int count) { loop.start(*new recorded_read{loop, *file, 0, count - 1}); }
  /// As the destructor of the I/O object does.
  void close() {
    const auto last = std::move(file);
    loop.cancel(*last);
  }
  /// Runs until the reads that were not cancelled have ended, and completes those that the device has not completed
  /// yet.
  void finish(int reads) {
    while (loop.ended() < 1 + reads) {
      loop.run_what_is_posted();
      disk->complete_one_if_any();
      loop.run_until_ended(std::min(loop.ended() + 1, 1 + reads));
    }
  }

  int descriptor;
  file_loop loop;
  std::shared_ptr<open_file> file;
  std::shared_ptr<device> disk;
};

/// Cancels the first read while either read completes. Both have ended when it returns.
void cancel_one_of_two(reading& all) {
  const std::uint64_t key = 1;
  all.begin_read(key);
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"canceller", [&] { all.loop.cancel(*all.file, key); }},
            {"device", [&] { all.disk->complete_one(); }}});
  all.finish(2);
  REQUIRE(all.loop.ended() == 3 && all.loop.failed() <= 1);
}

}  // namespace

SCENARIO(asio_file_read_and_complete, 3, "a read that completes while the loop polls ends once, with its result") {
  reading all;
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"reader", [&] { all.begin_read(); }},
            {"device", [&] { all.disk->complete_one(); }}});
  REQUIRE(all.loop.ended() == 2 && all.loop.failed() == 0 && all.loop.bytes() == 2);
}

SCENARIO(asio_file_look_and_complete, 3, "a read that completes after the loop's last poll also ends") {
  reading all;
  all.loop.look_busily(2);
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"reader", [&] { all.begin_read(); }},
            {"device", [&] { all.disk->complete_one(); }}});
  REQUIRE(all.loop.ended() == 2 && all.loop.failed() == 0 && all.loop.bytes() == 2);
}

SCENARIO(asio_file_cancel_and_complete, 3,
         "a read that is cancelled as it completes ends once: with its byte, or as cancelled") {
  reading all;
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"canceller", [&] { all.loop.cancel(*all.file); }},
            {"device", [&] { all.disk->complete_one_if_any(); }}});
  REQUIRE(all.loop.ended() == 2 && all.loop.bytes() + static_cast<std::size_t>(all.loop.failed()) == 2);
}

SCENARIO(asio_file_cancel_one_of_two, 3, "of two reads the one that is cancelled ends without the other") {
  reading all;
  cancel_one_of_two(all);
  REQUIRE(all.loop.bytes() + static_cast<std::size_t>(all.loop.failed()) == 3);
}

SCENARIO(asio_file_cancel_fetches, 3,
         "a completion that cancel has reaped, because the engine was busy, reaches its handler") {
  reading all;
  const std::uint64_t key = 1;
  all.begin_read();
  all.begin_read(key);
  all.loop.run_what_is_posted();
  all.disk->refuse_next_cancel();
  all.disk->ignore_cancels();
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"canceller", [&] { all.loop.cancel(*all.file, key); }},
            {"device", [&] { all.disk->complete_one(); }}});
  all.finish(2);
  REQUIRE(all.loop.ended() == 3 && all.loop.failed() == 0 && all.loop.bytes() == 3);
}

SCENARIO(asio_file_two_loops, 2, "if two threads run the loop, each of two reads ends once") {
  reading all;
  all.begin_read();
  all.begin_read();
  together({{"one loop", [&] { all.loop.run_until_ended(3); }},
            {"other loop", [&] { all.loop.run_until_ended(3); }},
            {"device", [&] {
               all.disk->complete_one();
               all.disk->complete_one();
             }}});
  REQUIRE(all.loop.ended() == 3 && all.loop.failed() == 0 && all.loop.bytes() == 3);
}

SCENARIO(asio_file_two_readers, 2, "each of two reads that are started concurrently ends once") {
  reading all;
  together({{"loop", [&] { all.loop.run_until_ended(3); }},
            {"one reader", [&] { all.begin_read(); }},
            {"other reader", [&] { all.begin_read(); }},
            {"device", [&] {
               all.disk->complete_one();
               all.disk->complete_one();
             }}});
  REQUIRE(all.loop.ended() == 3 && all.loop.failed() == 0 && all.loop.bytes() == 3);
}

SCENARIO(asio_file_reads_in_a_row, 2,
         "a disk read that a handler starts is submitted, whatever other reads are started concurrently") {
  reading all{file_access::random, true};
  all.begin_reads_in_a_row(2);
  together({{"loop", [&] { all.loop.run_until_ended(4); }},
            {"reader", [&] { all.begin_read(); }},
            {"device", [&] {
               for (int i = 0; i < 3; ++i) all.disk->complete_one();
             }}});
  REQUIRE(all.loop.ended() == 4 && all.loop.failed() == 0 && all.loop.bytes() == 4);
}

SCENARIO(asio_file_close_and_complete, 3,
         "a file that is closed as its read completes exists until the read has ended, and not longer") {
  reading all;
  const std::weak_ptr<open_file> there = all.file;
  all.begin_read();
  together({{"loop", [&] { all.loop.run_until_ended(2); }},
            {"closer", [&] { all.close(); }},
            {"device", [&] { all.disk->complete_one_if_any(); }}});
  REQUIRE(all.loop.ended() == 2 && there.expired());
}

SCENARIO(asio_file_queue, 3,
         "after a stream's read was cancelled or has completed, the next read of the stream is started") {
  reading all{file_access::stream};
  cancel_one_of_two(all);
  REQUIRE(all.file->position() == all.loop.bytes());
}

SCENARIO(asio_file_shut_down_and_complete, 3,
         "if an operation completes while the context shuts down, its handler is not called, and is destroyed when the "
         "buffer is no longer used") {
  reading all;
  all.begin_read();
  all.loop.run_what_is_posted();
  all.begin_read();
  together({{"owner", [&] { all.loop.shut_down(); }}, {"device", [&] { all.disk->complete_one_if_any(); }}});
  REQUIRE(all.loop.ended() == 1 && all.loop.forgotten() == 2);
}

}  // namespace doorbell::model
