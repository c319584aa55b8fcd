// SPDX-License-Identifier: Apache-2.0
//
// Operations report an error while descriptors, threads, memory or the kernel's resources for waits are short. After
// the shortage, operations are carried out.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include "failing_new.hpp"
#include "support/child.hpp"
#include "support/counting_allocator.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/refused_calls.hpp"
#include "support/used_files.hpp"

DOORBELL_TEST_FORKS

namespace {

namespace net = boost::asio;
namespace failing_new = doorbell::test::failing_new;
using boost::system::error_code;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::test::counting_allocator;
using doorbell::test::in_child;
using doorbell::test::inventory;
using doorbell::test::memory_count;
using doorbell::test::no_more_fds;
using doorbell::test::nothing_left_behind;
using doorbell::test::pipe_ends;

constexpr std::string_view text = "hello, world";

error_code of_system(int error) { return {error, boost::system::system_category()}; }

/// A file and a stream with their own loop, and the error codes that their handlers got.
class two_files {
 public:
  void start() {
    told_.clear();
    read_of_stream_ = 0;
    file_.async_read_some_at(7, net::buffer(room_), add_to(read_of_file_));
    stream_.async_read_some(net::buffer(other_room_), add_to(read_of_stream_));
    stream_.async_read_some(net::buffer(other_room_), add_to(read_of_stream_));
    file_.async_sync_data([this](error_code ec) { told_.push_back(ec); });
  }
  void run() {
    io_.restart();
    io_.run();
  }
  [[nodiscard]] const std::vector<error_code>& told() const { return told_; }
  void expect_all_told(const error_code& expected) const { EXPECT_EQ(told_, std::vector<error_code>(4, expected)); }
  void expect_all_operations_succeed() {
    stream_.seek(0, doorbell::asio::file_base::seek_set);
    start();
    run();
    expect_all_told({});
    EXPECT_EQ(std::string_view(room_.data(), room_.size()), "world");
    EXPECT_EQ(std::string_view(other_room_.data(), other_room_.size()), ": wor") << "of the second read";
  }
  void expect_position_behind_what_was_read() {
    EXPECT_EQ(stream_.seek(0, doorbell::asio::file_base::seek_cur), read_of_stream_);
  }

 private:
  std::function<void(error_code, std::size_t)> add_to(std::size_t& read) {
    return [this, &read](error_code ec, std::size_t bytes) {
      told_.push_back(ec);
      EXPECT_EQ(bytes, ec ? 0U : 5U);
      read += bytes;
    };
  }

  net::io_context io_;
  random_access_file file_{io_, doorbell::test::temporary_file(text).release()};
  stream_file stream_{io_, doorbell::test::temporary_file("hello: world").release()};
  std::array<char, 5> room_{};
  std::array<char, 5> other_room_{};
  std::vector<error_code> told_;
  std::size_t read_of_file_ = 0;
  std::size_t read_of_stream_ = 0;
};

// Oracle: with each number of remaining descriptors, each operation is carried out, or gets the error and has not moved
// the position. When there are descriptors again, all operations are carried out; and no descriptor stays open.
TEST(asio_shortage, of_descriptors_is_reported_to_the_handlers_and_has_no_effect_later) {
  doorbell::test::use_files_once();
  const nothing_left_behind checks;
  bool has_gone = false;
  for (rlim_t spare = 0; !has_gone; ++spare) {
    ASSERT_LT(spare, 20U);
    SCOPED_TRACE(std::to_string(spare) + " descriptors are left");
    two_files files;
    {
      const no_more_fds from_here{spare};
      files.start();
      files.run();
    }
    has_gone = files.told() == std::vector<error_code>(4);
    ASSERT_EQ(files.told().size(), 4U);
    for (const auto& each : files.told())
      EXPECT_TRUE(!each || each == of_system(EMFILE) || each == of_system(EAGAIN)) << each;
    if (spare == 0) files.expect_all_told(of_system(EMFILE));
    files.expect_position_behind_what_was_read();
    files.expect_all_operations_succeed();
  }
}

TEST(asio_shortage, of_epoll_watches_is_reported_to_the_handlers_and_leaves_no_descriptor_open) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  in_child([] {
    two_files files;
    const auto before = inventory::now();
    doorbell::test::refuse(SYS_epoll_ctl, ENOSPC);
    for (int i = 0; i < 2; ++i) {
      files.start();
      files.run();
      files.expect_all_told(of_system(ENOSPC));
      EXPECT_EQ(inventory::now().descriptors, before.descriptors);
    }
  });
}

// Oracle: whichever single allocation fails when the files are first used, each operation is carried out or gets the
// error, and all operations are carried out afterwards.
TEST(asio_shortage, of_memory_for_the_context_of_the_files_is_reported_to_the_handlers) {
  doorbell::test::use_files_once();
  const nothing_left_behind checks;
  failing_new::is_lasting = false;
  failing_new::has_failed = true;
  for (int allocations = 0; failing_new::has_failed; ++allocations) {
    ASSERT_LT(allocations, 50);
    SCOPED_TRACE(std::to_string(allocations) + " allocations succeed");
    two_files files;
    files.start();
    failing_new::has_failed = false;
    failing_new::left = allocations;
    files.run();
    failing_new::left = -1;
    ASSERT_EQ(files.told().size(), 4U);
    if (allocations == 0) {
      EXPECT_EQ(files.told()[0], of_system(ENOMEM));
    }
    files.expect_all_operations_succeed();
  }
}

// Oracle: without threads each operation is carried out or gets the error; no operation keeps the loop running.
TEST(asio_shortage, of_threads_is_reported_to_the_handlers) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  in_child([] {
    doorbell::test::refuse(SYS_clone3, EAGAIN);
    doorbell::test::refuse(SYS_clone, EAGAIN);
    net::io_context io;
    pipe_ends pipe;
    random_access_file reader{io, pipe.read.release()};
    std::array<char, 1> room{};
    std::vector<std::size_t> read;
    for (int i = 0; i < 3; ++i)
      reader.async_read_some_at(0, net::buffer(room), [&](error_code ec, std::size_t bytes) {
        EXPECT_TRUE(!ec || ec == net::error::try_again) << ec;
        read.push_back(bytes);
      });
    io.poll();
    EXPECT_EQ(::write(pipe.write.get(), "xyz", 3), 3);
    io.run();
    EXPECT_EQ(read.size(), 3U);
  });
}

/// An allocator that has no memory.
template <class T>
struct scarce_allocator : counting_allocator<T> {
  using value_type = T;
  template <class U>
  struct rebind {
    using other = scarce_allocator<U>;
  };
  explicit scarce_allocator(memory_count& whose) : counting_allocator<T>{whose} {}
  template <class U>
  explicit(false) scarce_allocator(const scarce_allocator<U>& other) : counting_allocator<T>{other} {}
  T* allocate(std::size_t) { throw std::bad_alloc{}; }
};

/// A handler of any operation. Its move throws after `moves` moves; it never throws if that is negative.
class fragile_handler {
 public:
  using allocator_type = counting_allocator<std::byte>;

  fragile_handler(memory_count& memory, int& moves, int& called) : memory_{&memory}, moves_{&moves}, called_{&called} {}
  fragile_handler(const fragile_handler& other) = default;
  fragile_handler(fragile_handler&& other) noexcept(false)
      : memory_{other.memory_}, moves_{other.moves_}, called_{other.called_} {
    if (*moves_ == 0) throw std::runtime_error{"a move"};
    if (*moves_ > 0) --*moves_;
  }
  fragile_handler& operator=(const fragile_handler&) = delete;
  fragile_handler& operator=(fragile_handler&&) = delete;
  ~fragile_handler() = default;

  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type{*memory_}; }
  void operator()(error_code ec, std::uint64_t = 0) const { *called_ += ec ? 0 : 1; }

 private:
  memory_count* memory_;
  int* moves_;
  int* called_;
};

/// An object of each kind, each ready for its operation.
class each_operation : public testing::Test {
 protected:
  template <class Handler>
  std::vector<std::function<void()>> starts_with(const Handler& handler) {
    return {
        [=, this] { efd_.async_wait(POLLIN, Handler{handler}); },
        [=, this] { efd_.async_read(Handler{handler}); },
        [=, this] { efd_.async_write(1, Handler{handler}); },
        [=, this] { file_.async_read_some_at(0, net::buffer(room_), Handler{handler}); },
        [=, this] { file_.async_write_some_at(0, net::buffer(room_), Handler{handler}); },
        [=, this] { file_.async_sync_data(Handler{handler}); },
        [=, this] { stream_.async_read_some(net::buffer(room_), Handler{handler}); },
        // These operations end in the function that starts them.
        [=, this] { once_.async_wait(Handler{handler}); },
        [=, this] { permits_.async_acquire(Handler{handler}); },
        [=, this] { closed_.async_read_some_at(0, net::buffer(room_), Handler{handler}); },
    };
  }

  static constexpr std::size_t that_end_immediately = 3;
  net::io_context io_;
  std::array<char, 4> room_{};
  doorbell::asio::eventfd efd_{io_, 5};
  doorbell::asio::auto_reset_event once_{io_, true};
  doorbell::asio::semaphore permits_{io_, 2};
  random_access_file file_{io_, doorbell::test::temporary_file(text).release()};
  stream_file stream_{io_, doorbell::test::temporary_file(text).release()};
  random_access_file closed_{io_};
};

// Oracle: the function that starts an operation throws; no handler is called, the loop has no work left, and all
// objects can be used as before.
TEST_F(each_operation, of_a_handler_without_memory_throws_and_leaves_the_object_as_it_was) {
  memory_count memory;
  int called = 0;
  const auto handler = [&](error_code, std::uint64_t = 0) { ++called; };
  for (const auto& start : starts_with(net::bind_allocator(scarce_allocator<std::byte>{memory}, handler)))
    EXPECT_THROW(start(), std::bad_alloc);
  io_.run();
  EXPECT_EQ(called, 0);
  io_.restart();
  for (const auto& start : starts_with(handler)) start();
  io_.run();
  EXPECT_EQ(called, 10);
  EXPECT_EQ(stream_.seek(0, doorbell::asio::file_base::seek_cur), room_.size());
}

// Oracle: as above, whichever move of the handler throws; and the memory of the operation is freed.
TEST_F(each_operation, of_a_handler_whose_move_throws_throws_and_frees_its_memory) {
  memory_count memory;
  int moves = -1;
  int called = 0;
  auto starts = starts_with(fragile_handler{memory, moves, called});
  starts.resize(starts.size() - that_end_immediately);  // a handler that is moved into the loop must not throw
  for (const auto& start : starts) {
    int most = 0;
    for (bool has_thrown = true; has_thrown; ++most) {
      ASSERT_LT(most, 20);
      moves = most;
      has_thrown = false;
      try {
        start();
      } catch (const std::runtime_error&) {
        has_thrown = true;
        EXPECT_EQ(memory.live, 0U);
      }
    }
    EXPECT_GT(most, 1) << "no move has thrown";
    moves = -1;
    io_.restart();
    io_.run();
    EXPECT_EQ(memory.live, 0U);
  }
  EXPECT_EQ(called, static_cast<int>(starts.size()));
}

}  // namespace
