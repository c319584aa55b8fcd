// SPDX-License-Identifier: Apache-2.0
//
// Initiating functions: the executors that they tell completion tokens, operations that are started while the execution
// context shuts down, and the traces that an operation must not leave after its end.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/system_executor.hpp>

#include "support/fds.hpp"
#include "support/files.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;

/// A completion token. The initiating function starts nothing and returns the executor of its initiation.
struct return_executor {};

}  // namespace

template <class... Signatures>
class boost::asio::async_result<return_executor, Signatures...> {
 public:
  template <class Initiation, class... Arguments>
  static any_io_executor initiate(Initiation&& initiation, Arguments&&... /*token and arguments*/) {
    return get_associated_executor(initiation, system_executor{});
  }
};

namespace {

TEST(asio_initiation, tells_the_token_the_executor_of_the_object) {
  net::io_context io;
  const return_executor token;
  std::array<char, 4> room{};
  doorbell::asio::eventfd efd{io};
  doorbell::asio::watch watch{io};
  doorbell::asio::auto_reset_event once{io};
  doorbell::asio::manual_reset_event stays{io};
  doorbell::asio::condition_variable changed{io};
  doorbell::asio::semaphore permits{io, 1};
  doorbell::asio::random_access_file file{io};
  doorbell::asio::stream_file stream{io};
  std::mutex mutex;
  std::unique_lock lock{mutex};
  const std::vector<std::pair<const char*, net::any_io_executor>> told{
      {"eventfd::async_wait", efd.async_wait(POLLIN, token)},
      {"eventfd::async_read", efd.async_read(token)},
      {"eventfd::async_write", efd.async_write(1, token)},
      {"watch::async_wait", watch.async_wait(token)},
      {"auto_reset_event::async_wait", once.async_wait(token)},
      {"manual_reset_event::async_wait", stays.async_wait(token)},
      {"condition_variable::async_wait", changed.async_wait(lock, token)},
      {"semaphore::async_acquire", permits.async_acquire(token)},
      {"async_read_some_at", file.async_read_some_at(0, net::buffer(room), token)},
      {"async_write_some_at", file.async_write_some_at(0, net::buffer(room), token)},
      {"async_sync_all", file.async_sync_all(token)},
      {"async_sync_data", file.async_sync_data(token)},
      {"async_read_some", stream.async_read_some(net::buffer(room), token)},
      {"async_write_some", stream.async_write_some(net::buffer(room), token)},
  };
  for (const auto& [name, executor] : told) EXPECT_EQ(executor, net::any_io_executor{io.get_executor()}) << name;
  EXPECT_TRUE(lock.owns_lock());
}

/// A class that a program derives from basic_file.
struct own_file : doorbell::asio::basic_file<> {
  using basic_file::basic_file;
};

TEST(asio_initiation, class_derived_from_basic_file_owns_the_descriptor_that_it_is_given) {
  net::io_context io;
  auto fd = doorbell::test::temporary_file("abcd");
  const int number = fd.get();
  {
    const own_file file{io.get_executor(), fd.release()};
    EXPECT_EQ(file.native_handle(), number);
    EXPECT_EQ(file.size(), 4U);
  }
  EXPECT_FALSE(doorbell::test::is_open(number));
}

// Oracle: the destructor of a handler, called by the end of the execution context, starts an operation on the same
// object. The handler of this operation belongs to another loop, which calls it with bad_descriptor.
template <class Object, class Start>
void expect_refused_in_the_end_of_the_context(Start start) {
  net::io_context others;
  std::optional<net::io_context> io{std::in_place};
  Object object{*io};
  std::vector<error_code> told;
  const auto start_another = [&](void*) {
    start(object, net::bind_executor(others.get_executor(), [&](error_code ec) { told.push_back(ec); }));
  };
  start(object, [at_end = std::shared_ptr<void>{nullptr, start_another}](error_code) { FAIL(); });
  io.reset();
  EXPECT_TRUE(told.empty());
  others.run();
  EXPECT_EQ(told, std::vector<error_code>{net::error::bad_descriptor});
}

TEST(asio_initiation, of_an_operation_in_the_end_of_its_context_reports_bad_descriptor) {
  expect_refused_in_the_end_of_the_context<doorbell::asio::eventfd>(
      [](auto& efd, auto handler) { efd.async_wait(POLLIN, std::move(handler)); });
  expect_refused_in_the_end_of_the_context<doorbell::asio::auto_reset_event>(
      [](auto& event, auto handler) { event.async_wait(std::move(handler)); });
}

// Oracle: the loop runs the handler and nothing else, although the event stays set.
TEST(asio_initiation, wait_that_was_ended_by_set_does_not_wake_the_loop_any_more) {
  net::io_context io;
  doorbell::asio::manual_reset_event event{io};
  int ended = 0;
  event.async_wait([&](error_code ec) { ended += ec ? 0 : 1; });
  event.set();
  EXPECT_EQ(io.run(), 1U);
  EXPECT_EQ(ended, 1);
}

}  // namespace
