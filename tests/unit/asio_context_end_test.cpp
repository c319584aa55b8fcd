// SPDX-License-Identifier: Apache-2.0
//
// The end of an execution context: the destructors of handlers that the context destroys may open files, and may start
// operations on objects of the same context.
#include <doorbell/asio.hpp>
#include <doorbell/base/private_fd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/immediately.hpp"
#include "support/inventory.hpp"
#include "support/used_files.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::test::immediately;
using doorbell::test::unique_fd;

/// A handler that must not be called, and that calls `at_end` when it is destroyed.
class last_words {
 public:
  explicit last_words(std::function<void()> at_end)
      : at_end_{new std::function<void()>{std::move(at_end)}, [](std::function<void()>* call) {
                  (*call)();
                  delete call;
                }} {}
  void operator()(error_code, std::uint64_t = 0) const { ADD_FAILURE() << "the handler was called"; }

 private:
  std::shared_ptr<std::function<void()>> at_end_;
};

class asio_context_end : public testing::Test {
 protected:
  ~asio_context_end() override { EXPECT_EQ(ends_, expected_ends_); }

  /// @return a handler that must be destroyed exactly once.
  last_words expect_destroyed(std::function<void()> at_end = [] {}) {
    ++expected_ends_;
    return last_words{[this, at_end = std::move(at_end)] {
      ++ends_;
      at_end();
    }};
  }

  doorbell::test::pipe_ends pipe_;
  std::array<char, 8> room_{};
  std::optional<net::io_context> io_{std::in_place};

 private:
  int ends_ = 0;
  int expected_ends_ = 0;
};

// Oracle: the context closes each of its descriptors once, and no descriptor that has taken the number of a closed one.
TEST_F(asio_context_end, closes_no_descriptor_that_a_destructor_has_opened) {
  doorbell::test::use_files_once();
  const doorbell::test::nothing_left_behind checks;
  std::vector<unique_fd> opened;
  stream_file reader{*io_, ::dup(pipe_.read.get())};
  reader.async_read_some(net::buffer(room_), expect_destroyed([&] {
                           for (const int lowest : {0, doorbell::base::private_fd::lowest_number()})
                             for (int i = 0; i < 20; ++i)
                               opened.emplace_back(::fcntl(pipe_.write.get(), F_DUPFD_CLOEXEC, lowest));
                         }));
  io_->poll();
  io_.reset();
  EXPECT_EQ(opened.size(), 40U);
  for (const auto& each : opened) EXPECT_TRUE(doorbell::test::is_open(each.get()));
  opened.clear();
  reader.close();
}

TEST_F(asio_context_end, destroys_the_operations_on_files_that_a_destructor_starts) {
  if (!doorbell::test::has_memory_folder()) GTEST_SKIP() << "no /dev/shm";
  const auto there = doorbell::test::temporary_file_in(doorbell::test::memory_folder, "text");
  stream_file reader{*io_, pipe_.read.release()};
  random_access_file file{*io_, ::dup(there.get())};
  reader.async_read_some(net::buffer(room_), expect_destroyed([&] {
                           file.async_read_some_at(0, net::buffer(room_), expect_destroyed());
                           file.async_sync_data(expect_destroyed());
                           reader.async_read_some(net::buffer(room_), expect_destroyed());
                           file.async_read_some_at(0, net::buffer(room_), immediately(expect_destroyed()));
                         }));
  io_->poll();
  io_.reset();
}

TEST_F(asio_context_end, destroys_the_operations_on_eventfds_that_a_destructor_starts) {
  doorbell::asio::eventfd efd{*io_, 3};
  doorbell::asio::auto_reset_event event{*io_, true};
  doorbell::asio::eventfd empty{*io_};
  empty.async_read(expect_destroyed([&] {
    empty.async_read(expect_destroyed());
    empty.async_wait(POLLIN, expect_destroyed());
    efd.async_read(expect_destroyed());
    event.async_wait(expect_destroyed());
  }));
  io_->poll();
  io_.reset();
}

// Oracle: the context destroys the reads that are queued behind another one, and the operations that have not been
// submitted yet, which are more than one batch.
TEST_F(asio_context_end, destroys_operations_that_are_queued_or_not_submitted) {
  stream_file reader{*io_, pipe_.read.release()};
  for (int i = 0; i < 3; ++i) reader.async_read_some(net::buffer(room_), expect_destroyed());
  io_->poll();
  for (int i = 0; i < 3; ++i) reader.async_read_some(net::buffer(room_), expect_destroyed());
  random_access_file file{*io_, doorbell::test::temporary_file("text").release()};
  for (int i = 0; i < 600; ++i) file.async_read_some_at(0, net::buffer(room_), expect_destroyed());
  file.async_sync_all(expect_destroyed());
  io_.reset();
}

TEST_F(asio_context_end, of_a_pool_destroys_waiting_operations) {
  std::optional<net::thread_pool> pool{std::in_place, 1};
  stream_file reader{*pool, pipe_.read.release()};
  doorbell::asio::eventfd efd{*pool};
  for (int i = 0; i < 3; ++i) reader.async_read_some(net::buffer(room_), expect_destroyed());
  efd.async_read(expect_destroyed());
  pool->stop();
  pool->join();
  pool.reset();
}

}  // namespace
