// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::eventfd as an owner: which object holds a handle, how an object is opened, moved and released, and
// which operations a cancellation slot ends.
#include <doorbell/asio.hpp>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doorbell/notifier.hpp>

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::hold_handle;
using doorbell::asio::listen_only;
using net::error::operation_aborted;

/// Counts the eventfds created since the last call. Their ids are consecutive.
class created_eventfds {
 public:
  [[nodiscard]] std::uint64_t count() {
    const auto now = next();
    return now - std::exchange(last_, now) - 1;
  }

 private:
  static std::uint64_t next() { return doorbell::eventfd{}.info().id; }

  std::uint64_t last_ = next();
};

class asio_eventfd_owner : public testing::Test {
 protected:
  /// A handler that appends the error that it is called with to `told`.
  auto append() {
    return [this](error_code ec, std::uint64_t /*count*/ = 0) { told.push_back(ec); };
  }
  auto append_unless_stopped() { return net::bind_cancellation_slot(stop.slot(), append()); }
  void expect_aborted(std::size_t operations) {
    io.poll();
    io.restart();
    EXPECT_EQ(told, std::vector<error_code>(operations, operation_aborted));
  }

  net::io_context io;
  doorbell::eventfd theirs;
  std::vector<error_code> told;
  net::cancellation_signal stop;
};

TEST_F(asio_eventfd_owner, a_listener_creates_no_eventfd_and_returns_a_closed_handle) {
  created_eventfds created;
  const doorbell::asio::eventfd untagged{io, theirs};
  const doorbell::asio::eventfd tagged{io, theirs, listen_only};
  const doorbell::asio::eventfd by_executor{io.get_executor(), theirs, listen_only};
  EXPECT_EQ(created.count(), 0U);
  for (const auto* listener : {&untagged, &tagged, &by_executor}) {
    EXPECT_TRUE(listener->is_open());
    EXPECT_FALSE(listener->handle().is_open());
    EXPECT_EQ(listener->context(), theirs.context());
  }
}

TEST_F(asio_eventfd_owner, a_listener_does_not_prevent_the_last_close_and_a_holder_does) {
  doorbell::asio::eventfd listener{io, theirs, listen_only};
  std::optional<doorbell::asio::eventfd> holder{std::in_place, io, theirs, hold_handle};
  EXPECT_TRUE(theirs.is_open()) << "an lvalue is copied";
  theirs.close();
  listener.async_read(append());
  io.poll();
  EXPECT_TRUE(told.empty());
  holder.reset();
  io.run();
  EXPECT_EQ(told, std::vector<error_code>{net::error::eof});
}

TEST_F(asio_eventfd_owner, a_listener_of_a_temporary_handle_does_not_compile) {
  using object = doorbell::asio::eventfd;
  using tag = doorbell::asio::listen_only_t;
  EXPECT_FALSE((std::is_constructible_v<object, net::io_context&, doorbell::eventfd, tag>));
  EXPECT_FALSE((std::is_constructible_v<object, net::any_io_executor, doorbell::eventfd, tag>));
  EXPECT_TRUE((std::is_constructible_v<object, net::any_io_executor, doorbell::eventfd&, tag>));
}

TEST_F(asio_eventfd_owner, is_created_with_an_initial_count_and_flags) {
  doorbell::asio::eventfd counts{io, 5};
  EXPECT_EQ(counts.read(), 5U);
  doorbell::asio::eventfd permits{io.get_executor(), 2, EFD_SEMAPHORE};
  EXPECT_EQ(permits.read(), 1U);
  EXPECT_EQ(permits.read(), 1U);
  EXPECT_THROW((doorbell::asio::eventfd{io, 0, 1 << 30}), boost::system::system_error);
}

TEST_F(asio_eventfd_owner, assign_opens_a_closed_object) {
  doorbell::asio::eventfd object{io};
  error_code ec;
  EXPECT_EQ(object.assign(theirs, listen_only, ec), net::error::already_open);
  EXPECT_EQ(object.assign(theirs, hold_handle, ec), net::error::already_open);
  object.close();
  EXPECT_THROW(object.assign(doorbell::eventfd::closed(), hold_handle), boost::system::system_error);
  const auto closed = doorbell::eventfd::closed();
  EXPECT_EQ(object.assign(closed, listen_only, ec), net::error::bad_descriptor);
  EXPECT_FALSE(object.is_open());

  object.assign(theirs, listen_only);
  EXPECT_FALSE(object.handle().is_open());
  object.async_read(append());
  theirs.signal();
  io.run();
  EXPECT_EQ(told, std::vector<error_code>{error_code{}});

  object.close();
  EXPECT_FALSE(object.assign(std::move(theirs), hold_handle, ec));
  EXPECT_TRUE(object.handle().is_open());
}

TEST_F(asio_eventfd_owner, release_ends_the_operations_and_returns_the_handle) {
  doorbell::asio::eventfd holder{io, theirs, hold_handle};
  theirs.close();
  holder.async_read(append());
  doorbell::eventfd released = holder.release();
  EXPECT_FALSE(holder.is_open());
  EXPECT_FALSE(holder.handle().is_open());
  expect_aborted(1);
  released.signal(3);
  EXPECT_EQ(released.read(), 3U);
  error_code ec;
  EXPECT_FALSE(holder.release(ec).is_open());
  EXPECT_EQ(ec, net::error::bad_descriptor);
  doorbell::asio::eventfd listener{io, released, listen_only};
  EXPECT_FALSE(listener.release().is_open());
}

TEST_F(asio_eventfd_owner, release_is_refused_in_a_callback) {
  doorbell::asio::eventfd object{io};
  error_code ec;
  const doorbell::notifier inside{theirs, [&](auto&) { EXPECT_FALSE(object.release(ec).is_open()); }};
  theirs.signal();
  EXPECT_EQ(ec, boost::system::errc::resource_deadlock_would_occur);
  EXPECT_TRUE(object.is_open() && object.handle().is_open());
}

TEST_F(asio_eventfd_owner, members_with_an_error_code_return_it) {
  doorbell::asio::eventfd object{io};
  error_code ec;
  EXPECT_EQ(object.cancel(ec), error_code{});
  EXPECT_EQ(object.close(ec), error_code{});
  EXPECT_EQ(object.cancel(ec), net::error::bad_descriptor);
  EXPECT_EQ(object.close(ec), net::error::bad_descriptor);
}

TEST_F(asio_eventfd_owner, moves_to_another_type_of_executor_with_its_operations) {
  const auto strand = net::make_strand(io);
  doorbell::asio::basic_eventfd<std::remove_const_t<decltype(strand)>> first{strand};
  bool in_strand = false;
  first.async_read(
      [&](error_code ec, std::uint64_t count) { in_strand = !ec && count == 4 && strand.running_in_this_thread(); });
  doorbell::asio::eventfd second{std::move(first)};
  EXPECT_FALSE(first.is_open());
  EXPECT_EQ(first.get_executor(), strand);
  second.signal(4);
  io.run();
  EXPECT_TRUE(in_strand);

  io.restart();
  first = doorbell::asio::basic_eventfd<std::remove_const_t<decltype(strand)>>{strand};
  second.async_read(append());
  second = std::move(first);
  second.async_read(append());
  second.signal();
  io.run();
  EXPECT_EQ(told, (std::vector<error_code>{operation_aborted, error_code{}}))
      << "assigning closes the previous eventfd";
}

TEST_F(asio_eventfd_owner, move_assignment_takes_the_executor_and_the_handle) {
  net::io_context others;
  doorbell::asio::eventfd object{io};
  const auto before = object.context();
  object = doorbell::asio::eventfd{others, theirs, hold_handle};
  EXPECT_EQ(object.get_executor(), net::any_io_executor{others.get_executor()});
  EXPECT_TRUE(object.handle().is_open());
  EXPECT_EQ(object.handle().context(), theirs.context());
  EXPECT_EQ(object.context(), theirs.context());
  EXPECT_FALSE(before->is_open()) << "the previous handle is closed";
}

TEST_F(asio_eventfd_owner, a_default_token_is_bound_to_an_object) {
  auto awaited = net::use_awaitable_t<>::as_default_on(doorbell::asio::eventfd{io, 6});
  std::uint64_t read = 0;
  net::co_spawn(io, [&]() -> net::awaitable<void> { read = co_await awaited.async_read(); }, net::detached);
  io.run();
  EXPECT_EQ(read, 6U);
}

TEST_F(asio_eventfd_owner, a_slot_ends_all_operations_of_an_object_that_are_bound_to_it) {
  doorbell::asio::eventfd object{io};
  object.handle().write(doorbell::eventfd::max);
  EXPECT_EQ(object.read(), doorbell::eventfd::max);
  int unbound = 0;
  object.async_read(append_unless_stopped());
  object.async_read([&](error_code, std::uint64_t) { ++unbound; });
  object.async_wait(POLLIN, append_unless_stopped());
  object.async_read(append_unless_stopped());
  stop.emit(net::cancellation_type::total);
  expect_aborted(3);
  EXPECT_EQ(unbound, 0);
  object.signal();
  io.poll();
  EXPECT_EQ(unbound, 1);
}

TEST_F(asio_eventfd_owner, a_slot_ends_a_wait_and_a_write_and_the_next_write_completes) {
  doorbell::asio::eventfd object{io};
  object.handle().write(doorbell::eventfd::max - 1);
  std::vector<error_code> behind;
  object.async_wait(0, append_unless_stopped());
  object.async_write(2, append_unless_stopped());
  object.async_write(1, [&](error_code ec) { behind.push_back(ec); });
  io.poll();
  EXPECT_TRUE(behind.empty());
  stop.emit(net::cancellation_type::terminal);
  expect_aborted(2);
  EXPECT_EQ(behind, std::vector<error_code>{error_code{}});
  EXPECT_EQ(object.read(), doorbell::eventfd::max);
}

TEST_F(asio_eventfd_owner, a_slot_that_is_bound_again_ends_the_later_operation) {
  doorbell::asio::eventfd object{io};
  for (int i = 0; i < 3; ++i) {
    object.async_read(append_unless_stopped());
    object.signal();
    io.poll();
    io.restart();
  }
  EXPECT_EQ(told, std::vector<error_code>(3));
  told.clear();
  object.async_read(append_unless_stopped());
  stop.emit(net::cancellation_type::partial);
  expect_aborted(1);
}

// The function object of the second signal's slot may have the address of the first one's.
TEST_F(asio_eventfd_owner, a_slot_does_not_end_operations_of_an_earlier_slot_at_its_address) {
  doorbell::asio::eventfd object{io};
  std::vector<error_code> first;
  for (int i = 0; i < 8; ++i) {
    std::optional<net::cancellation_signal> gone{std::in_place};
    object.async_read(
        net::bind_cancellation_slot(gone->slot(), [&](error_code ec, std::uint64_t) { first.push_back(ec); }));
    gone->slot().clear();
    gone.emplace();
    object.async_read(net::bind_cancellation_slot(gone->slot(), append()));
    gone->emit(net::cancellation_type::terminal);
  }
  expect_aborted(8);
  EXPECT_TRUE(first.empty());
}

TEST_F(asio_eventfd_owner, a_slot_of_two_objects_ends_the_operation_that_was_bound_last) {
  doorbell::asio::eventfd first{io};
  doorbell::asio::eventfd second{io};
  int of_first = 0;
  first.async_read(net::bind_cancellation_slot(stop.slot(), [&](error_code, std::uint64_t) { ++of_first; }));
  second.async_read(append_unless_stopped());
  stop.emit(net::cancellation_type::terminal);
  expect_aborted(1);
  EXPECT_EQ(of_first, 0);
}

TEST_F(asio_eventfd_owner, a_slot_that_a_timer_used_before_can_be_bound) {
  doorbell::asio::eventfd object{io};
  net::steady_timer timer{io, std::chrono::hours{1}};
  error_code of_timer;
  timer.async_wait(net::bind_cancellation_slot(stop.slot(), [&](error_code ec) { of_timer = ec; }));
  object.async_read(append_unless_stopped());
  stop.emit(net::cancellation_type::terminal);
  expect_aborted(1);
  EXPECT_EQ(of_timer, error_code{});
}

TEST_F(asio_eventfd_owner, a_refused_operation_leaves_the_slot_bound_to_the_operation_before) {
  doorbell::asio::eventfd object{io};
  object.async_read(append_unless_stopped());
  std::vector<error_code> refused;
  object.async_write(UINT64_MAX,
                     net::bind_cancellation_slot(stop.slot(), [&](error_code ec) { refused.push_back(ec); }));
  stop.emit(net::cancellation_type::terminal);
  expect_aborted(1);
  EXPECT_EQ(refused, std::vector<error_code>{net::error::invalid_argument});
}

TEST_F(asio_eventfd_owner, a_slot_that_is_emitted_with_the_type_none_ends_nothing) {
  doorbell::asio::eventfd object{io};
  object.async_read(append_unless_stopped());
  stop.emit(net::cancellation_type::none);
  object.signal();
  io.run();
  EXPECT_EQ(told, std::vector<error_code>{error_code{}});
}

TEST_F(asio_eventfd_owner, a_slot_follows_the_operations_of_a_moved_object) {
  auto first = std::make_unique<doorbell::asio::eventfd>(io);
  first->async_read(append_unless_stopped());
  doorbell::asio::eventfd second{std::move(*first)};
  first.reset();
  second.async_read(append_unless_stopped());
  stop.emit(net::cancellation_type::terminal);
  expect_aborted(2);
}

}  // namespace
