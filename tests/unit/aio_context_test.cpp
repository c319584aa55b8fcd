// SPDX-License-Identifier: Apache-2.0
//
// Requests of one context: operations, refusals, waits for events, cancellation, and the destruction of the context.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "support/by_engine.hpp"
#include "support/errors.hpp"
#include "support/files.hpp"

namespace {

using namespace std::chrono_literals;
namespace aio = doorbell::aio;
using doorbell::test::error_of;

class aio_context : public testing::Test {
 protected:
  aio::io_event get_one() {
    std::array<aio::io_event, 1> events{};
    const auto got = ctx_.get_events(1, events, 20s);
    EXPECT_EQ(got.size(), 1U);
    return events[0];
  }

  std::int64_t result_of(aio::iocb& request) {
    EXPECT_EQ(ctx_.submit({&request}), 1U);
    const auto event = get_one();
    EXPECT_EQ(event.obj, &request);
    return event.res;
  }

  std::error_code refusal_of(aio::iocb& request) {
    std::error_code ec;
    EXPECT_EQ(ctx_.submit({&request}, ec), 0U);
    return ec;
  }

  std::size_t events_there() {
    std::array<aio::io_event, 64> events{};
    return ctx_.get_events(0, events).size();
  }

  aio::context ctx_{8};
  doorbell::base::unique_fd file_ = doorbell::test::temporary_file("hello, world");
  std::array<char, 64> text_{};
};

std::string_view first(const std::array<char, 64>& text, std::int64_t bytes) {
  return {text.data(), static_cast<std::size_t>(bytes)};
}

// Operations.

TEST_F(aio_context, pread_reads_at_its_offset) {
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 7);
  const auto bytes = result_of(read);
  ASSERT_EQ(bytes, 5);
  EXPECT_EQ(first(text_, bytes), "world");
}

TEST_F(aio_context, pread_at_the_end_of_the_file_is_short) {
  auto read = aio::prep_pread(file_.get(), text_.data(), text_.size(), 7);
  EXPECT_EQ(result_of(read), 5);
  auto beyond = aio::prep_pread(file_.get(), text_.data(), text_.size(), 4096);
  EXPECT_EQ(result_of(beyond), 0);
}

TEST_F(aio_context, pwrite_writes_at_its_offset) {
  auto write = aio::prep_pwrite(file_.get(), "WORLD", 5, 7);
  EXPECT_EQ(result_of(write), 5);
  ASSERT_EQ(::pread(file_.get(), text_.data(), 12, 0), 12);
  EXPECT_EQ(first(text_, 12), "hello, WORLD");
}

TEST_F(aio_context, preadv_and_pwritev_take_several_buffers) {
  std::array<char, 3> one{};
  std::array<char, 4> two{};
  const std::array<iovec, 2> buffers{iovec{one.data(), one.size()}, iovec{two.data(), two.size()}};
  auto read = aio::prep_preadv(file_.get(), buffers, 0);
  EXPECT_EQ(result_of(read), 7);
  EXPECT_EQ((std::string{one.data(), 3} + std::string{two.data(), 4}), "hello, ");

  const auto copy = doorbell::test::temporary_file();
  auto write = aio::prep_pwritev(copy.get(), buffers, 0);
  EXPECT_EQ(result_of(write), 7);
  ASSERT_EQ(::pread(copy.get(), text_.data(), text_.size(), 0), 7);
  EXPECT_EQ(first(text_, 7), "hello, ");
}

TEST_F(aio_context, fsync_and_fdsync_complete_with_0) {
  auto all = aio::prep_fsync(file_.get());
  EXPECT_EQ(result_of(all), 0);
  auto data = aio::prep_fdsync(file_.get());
  EXPECT_EQ(result_of(data), 0);
}

TEST_F(aio_context, poll_completes_with_the_mask_when_the_pipe_is_readable) {
  doorbell::test::pipe_ends pipe;
  auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
  ASSERT_EQ(ctx_.submit({&poll}), 1U);
  EXPECT_EQ(events_there(), 0U);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(get_one().res, POLLIN);
}

TEST_F(aio_context, poll_reports_a_hangup_that_was_not_asked_for) {
  doorbell::test::pipe_ends pipe;
  auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
  ASSERT_EQ(ctx_.submit({&poll}), 1U);
  pipe.write.reset();
  EXPECT_EQ(get_one().res, POLLHUP);
}

TEST_F(aio_context, a_read_of_an_empty_pipe_does_not_block_submit) {
  doorbell::test::pipe_ends pipe;
  auto read = aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0);
  ASSERT_EQ(ctx_.submit({&read}), 1U);
  EXPECT_EQ(events_there(), 0U);
  ASSERT_EQ(::write(pipe.write.get(), "late", 4), 4);
  const auto event = get_one();
  ASSERT_EQ(event.res, 4);
  EXPECT_EQ(first(text_, event.res), "late");
}

TEST_F(aio_context, an_event_contains_the_data_and_the_address_of_its_request) {
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  read.data = &text_;
  ASSERT_EQ(ctx_.submit({&read}), 1U);
  const auto event = get_one();
  EXPECT_EQ(event.data, &text_);
  EXPECT_EQ(event.obj, &read);
  EXPECT_EQ(event.res2, 0);
}

TEST_F(aio_context, an_error_after_submit_is_the_result_of_the_event) {
  auto read = aio::prep_pread(file_.get(), nullptr, 5, 0);
  EXPECT_EQ(result_of(read), -EFAULT);
}

// Refusals.

TEST_F(aio_context, submit_refuses_invalid_requests) {
  auto reserved = aio::prep_pread(file_.get(), text_.data(), 1, 0);
  reserved.reserved2 = 1;
  EXPECT_EQ(refusal_of(reserved), std::errc::invalid_argument);
  auto huge = aio::prep_pread(file_.get(), text_.data(), ~std::size_t{0}, 0);
  EXPECT_EQ(refusal_of(huge), std::errc::invalid_argument);
  auto unknown = aio::prep_pread(file_.get(), text_.data(), 1, 0);
  unknown.lio_opcode = 6;
  EXPECT_EQ(refusal_of(unknown), std::errc::invalid_argument);
  auto negative = aio::prep_pread(file_.get(), text_.data(), 1, -1);
  EXPECT_EQ(refusal_of(negative), std::errc::invalid_argument);
  std::error_code ec;
  EXPECT_EQ(ctx_.submit({nullptr}, ec), 0U);
  EXPECT_EQ(ec, std::errc::bad_address);
}

TEST_F(aio_context, submit_refuses_a_file_that_is_not_open_for_the_operation) {
  auto nowhere = aio::prep_pread(-1, text_.data(), 1, 0);
  EXPECT_EQ(refusal_of(nowhere), std::errc::bad_file_descriptor);
  doorbell::test::pipe_ends pipe;
  auto backwards = aio::prep_pread(pipe.write.get(), text_.data(), 1, 0);
  EXPECT_EQ(refusal_of(backwards), std::errc::bad_file_descriptor);
  auto forwards = aio::prep_pwrite(pipe.read.get(), "x", 1, 0);
  EXPECT_EQ(refusal_of(forwards), std::errc::bad_file_descriptor);
}

TEST_F(aio_context, submit_refuses_unused_arguments_of_fsync_and_poll_that_are_not_0) {
  auto sync = aio::prep_fsync(file_.get());
  sync.nbytes = 1;
  EXPECT_EQ(refusal_of(sync), std::errc::invalid_argument);
  auto poll = aio::prep_poll(file_.get(), POLLIN);
  poll.buf = 0x10000;
  EXPECT_EQ(refusal_of(poll), std::errc::invalid_argument);
}

TEST_F(aio_context, submit_accepts_the_requests_before_the_first_bad_one) {
  auto good = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  auto bad = aio::prep_pread(-1, text_.data(), 1, 0);
  std::error_code ec;
  EXPECT_EQ(ctx_.submit({&good, &bad, &good}, ec), 1U);
  EXPECT_FALSE(ec);
  EXPECT_EQ(get_one().res, 5);
  EXPECT_EQ(events_there(), 0U);
}

TEST_F(aio_context, submit_of_no_requests_returns_0) { EXPECT_EQ(ctx_.submit({}), 0U); }

TEST_F(aio_context, submit_is_refused_without_a_free_slot_and_each_fetched_event_frees_one) {
  doorbell::test::pipe_ends pipe;
  std::vector<aio::iocb> polls(4096, aio::prep_poll(pipe.read.get(), POLLIN));
  std::size_t taken = 0;
  std::error_code ec;
  while (taken < polls.size() && ctx_.submit({&polls[taken]}, ec) == 1) ++taken;
  EXPECT_EQ(ec, std::errc::resource_unavailable_try_again);
  EXPECT_GE(taken, 8U);

  ctx_.cancel(polls[0]);
  (void)get_one();
  EXPECT_EQ(ctx_.submit({&polls[0]}, ec), 1U);
  EXPECT_EQ(ctx_.submit({&polls[taken]}, ec), 0U);
}

TEST_F(aio_context, a_context_for_no_requests_or_for_too_many_is_refused) {
  std::error_code ec;
  const aio::context none{0, ec};
  EXPECT_EQ(ec, std::errc::invalid_argument);
  const aio::context many{~0U, ec};
  EXPECT_EQ(ec, std::errc::invalid_argument);
}

TEST_F(aio_context, overloads_without_an_error_code_throw) {
  EXPECT_THROW(aio::context{0}, std::system_error);
  auto bad = aio::prep_pread(-1, text_.data(), 1, 0);
  EXPECT_THROW(ctx_.submit({&bad}), std::system_error);
  EXPECT_THROW(ctx_.cancel(bad), std::system_error);
  std::array<aio::io_event, 1> events{};
  EXPECT_THROW((void)ctx_.get_events(2, events), std::system_error);
  EXPECT_THROW((void)ctx_.get_events(2, events, 0ms), std::system_error);
  ctx_.destroy();
  EXPECT_THROW((void)ctx_.descriptor(), std::system_error);
  EXPECT_THROW(ctx_.destroy(), std::system_error);
}

// Getting events.

TEST_F(aio_context, get_events_returns_nothing_after_its_timeout) {
  std::array<aio::io_event, 1> events{};
  EXPECT_TRUE(ctx_.get_events(1, events, 1ms).empty());
  EXPECT_TRUE(ctx_.get_events(1, events, 0ms).empty());
}

TEST_F(aio_context, get_events_returns_fewer_than_the_minimum_at_the_deadline) {
  doorbell::eventfd complete;
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  read.set_eventfd(complete);
  ctx_.submit({&read});
  EXPECT_EQ(complete.read_for(20s), 1U);
  std::array<aio::io_event, 4> events{};
  EXPECT_EQ(ctx_.get_events(2, events, 50ms).size(), 1U);
}

TEST_F(aio_context, get_events_returns_no_more_events_than_fit) {
  std::vector<aio::iocb> writes(5, aio::prep_pwrite(file_.get(), "HELLO", 5, 0));
  for (auto& write : writes) ctx_.submit({&write});
  std::array<aio::io_event, 3> events{};
  EXPECT_EQ(ctx_.get_events(3, events, 20s).size(), 3U);
  EXPECT_EQ(ctx_.get_events(2, events, 20s).size(), 2U);
}

TEST_F(aio_context, get_events_refuses_a_minimum_that_does_not_fit) {
  std::array<aio::io_event, 1> events{};
  std::error_code ec;
  EXPECT_TRUE(ctx_.get_events(2, events, ec).empty());
  EXPECT_EQ(ec, std::errc::invalid_argument);
}

// Cancelling.

TEST_F(aio_context, a_cancelled_poll_completes_with_0) {
  doorbell::test::pipe_ends pipe;
  auto poll = aio::prep_poll(pipe.read.get(), POLLIN);
  ctx_.submit({&poll});
  ctx_.cancel(poll);
  EXPECT_EQ(get_one().res, 0);
}

TEST_F(aio_context, a_cancelled_read_of_a_pipe_completes_and_takes_no_byte) {
  doorbell::test::pipe_ends pipe;
  auto read = aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0);
  ctx_.submit({&read});
  ctx_.cancel(read);
  EXPECT_EQ(get_one().res, -ECANCELED);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  EXPECT_EQ(::read(pipe.read.get(), text_.data(), 1), 1);
}

TEST_F(aio_context, cancel_of_a_request_that_is_not_in_flight_is_refused) {
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  std::error_code ec;
  ctx_.cancel(read, ec);
  EXPECT_EQ(ec, std::errc::invalid_argument);
  EXPECT_EQ(result_of(read), 5);
  ctx_.cancel(read, ec);
  EXPECT_EQ(ec, std::errc::invalid_argument);
}

// io_uring cancels the requests of a thread that ends; a context must not.
TEST_F(aio_context, a_request_outlives_the_thread_that_submitted_it) {
  doorbell::test::pipe_ends pipe;
  auto read = aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0);
  std::thread{[&] { ctx_.submit({&read}); }}.join();
  EXPECT_EQ(events_there(), 0U);
  ASSERT_EQ(::write(pipe.write.get(), "here", 4), 4);
  const auto event = get_one();
  ASSERT_EQ(event.res, 4);
  EXPECT_EQ(first(text_, event.res), "here");
}

// Destruction and moves.

TEST_F(aio_context, destroy_cancels_waiting_requests_and_returns) {
  doorbell::test::pipe_ends pipe;
  std::vector<aio::iocb> reads(8, aio::prep_pread(pipe.read.get(), text_.data(), text_.size(), 0));
  for (auto& read : reads) ctx_.submit({&read});
  ctx_.destroy();
  text_.fill('.');
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  std::array<char, 64> untouched;
  untouched.fill('.');
  EXPECT_EQ(text_, untouched);
}

// Oracle: when destroy returns, all accepted requests have been carried out.
TEST_F(aio_context, destroy_waits_for_writes_and_reads_of_files) {
  const std::string block(4096, 'x');
  std::vector<aio::iocb> requests;
  for (std::size_t n = 0; n < 32; ++n)
    requests.push_back(aio::prep_pwrite(file_.get(), block.data(), block.size(), static_cast<std::int64_t>(n * 4096)));
  const auto source = doorbell::test::temporary_file("read");
  std::vector<std::array<char, 5>> found(32, {'n', 'o', 'n', 'e'});
  for (auto& each : found)
    requests.push_back(doorbell::test::by_engine(aio::prep_pread(source.get(), each.data(), 4, 0)));
  aio::context ctx{64};
  std::vector<aio::iocb*> all;
  for (auto& each : requests) all.push_back(&each);
  ASSERT_EQ(ctx.submit(all), all.size());
  ctx.destroy();
  std::string content(32 * block.size() + 1, '\0');
  content.resize(static_cast<std::size_t>(::pread(file_.get(), content.data(), content.size(), 0)));
  EXPECT_EQ(content, std::string(32 * block.size(), 'x'));
  for (const auto& each : found) EXPECT_STREQ(each.data(), "read");
}

TEST_F(aio_context, every_call_after_destroy_fails_with_invalid_argument) {
  ASSERT_NE(ctx_.handle(), 0U);
  ctx_.destroy();
  EXPECT_EQ(ctx_.handle(), 0U);
  std::error_code ec;
  ctx_.destroy(ec);
  EXPECT_EQ(ec, std::errc::invalid_argument);
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  EXPECT_EQ(refusal_of(read), std::errc::invalid_argument);
  ctx_.cancel(read, ec);
  EXPECT_EQ(ec, std::errc::invalid_argument);
  std::array<aio::io_event, 1> events{};
  EXPECT_TRUE(ctx_.get_events(1, events, ec).empty());
  EXPECT_EQ(ec, std::errc::invalid_argument);
}

TEST_F(aio_context, a_moved_context_keeps_its_requests_and_the_source_is_empty) {
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  ctx_.submit({&read});
  aio::context there = std::move(ctx_);
  std::array<aio::io_event, 1> events{};
  EXPECT_EQ(there.get_events(1, events, 20s).size(), 1U);
  std::error_code ec;
  ctx_.destroy(ec);  // NOLINT(bugprone-use-after-move): a moved-from context is an empty one
  EXPECT_EQ(ec, std::errc::invalid_argument);
  ctx_ = std::move(there);
  EXPECT_EQ(result_of(read), 5);
}

/// Calls `body` in a callback.
template <class Body>
void in_callback(Body body) {
  const doorbell::eventfd efd;
  bool has_run = false;
  const doorbell::notifier watch{efd, [&](auto&) {
                                   body();
                                   has_run = true;
                                 }};
  efd.signal();
  EXPECT_TRUE(has_run);
}

// Oracle: by the object and by its handle, each call has the error, and the context works afterwards.
TEST_F(aio_context, wait_and_destroy_are_refused_inside_a_callback) {
  in_callback([this] {
    const auto refused = std::make_error_code(std::errc::resource_deadlock_would_occur);
    std::array<aio::io_event, 1> events{};
    timespec a_moment{.tv_sec = 0, .tv_nsec = 1'000'000};
    const auto handle = ctx_.handle();
    EXPECT_EQ(error_of([&](auto& ec) { (void)ctx_.get_events(1, events, ec); }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { (void)ctx_.get_events(1, events, 1s, ec); }), refused);
    EXPECT_EQ(error_of([&](auto& ec) { ctx_.destroy(ec); }), refused);
    EXPECT_EQ(aio::io_getevents(handle, 1, 1, events.data(), &a_moment), -EDEADLK);
    EXPECT_EQ(aio::io_pgetevents(handle, 1, 1, events.data(), &a_moment, nullptr), -EDEADLK);
    EXPECT_EQ(aio::io_destroy(handle), -EDEADLK);
  });
  auto read = aio::prep_pread(file_.get(), text_.data(), 5, 0);
  EXPECT_EQ(result_of(read), 5);
}

TEST_F(aio_context, get_events_that_does_not_wait_succeeds_inside_a_callback) {
  in_callback([this] {
    std::array<aio::io_event, 1> events{};
    timespec no_wait{};
    const auto handle = ctx_.handle();
    EXPECT_FALSE(error_of([&](auto& ec) { EXPECT_TRUE(ctx_.get_events(0, events, ec).empty()); }));
    EXPECT_FALSE(error_of([&](auto& ec) { EXPECT_TRUE(ctx_.get_events(1, events, 0ms, ec).empty()); }));
    EXPECT_FALSE(error_of([&](auto& ec) { EXPECT_TRUE(ctx_.get_events(1, events, -1s, ec).empty()); }));
    EXPECT_EQ(aio::io_getevents(handle, 0, 1, events.data(), nullptr), 0);
    EXPECT_EQ(aio::io_getevents(handle, 1, 1, events.data(), &no_wait), 0);
    EXPECT_EQ(aio::io_pgetevents(handle, 1, 1, events.data(), &no_wait, nullptr), 0);
  });
}

// Oracle: each call returns without an event, and does not wait.
TEST_F(aio_context, a_negative_or_nan_timeout_does_not_wait) {
  std::array<aio::io_event, 1> events{};
  using namespace std::chrono;
  EXPECT_TRUE(ctx_.get_events(1, events, -1ns).empty());
  EXPECT_TRUE(ctx_.get_events(1, events, hours{-24 * 365 * 300}).empty());
  EXPECT_TRUE(ctx_.get_events(1, events, hours::min()).empty());
  EXPECT_TRUE(ctx_.get_events(1, events, duration<double>{-1e300}).empty());
  EXPECT_TRUE(ctx_.get_events(1, events, duration<double>{std::numeric_limits<double>::quiet_NaN()}).empty());
}

TEST(aio_context_end, destruction_in_a_callback_aborts_the_program_with_a_message) {
  const auto destroy = [] {
    auto destroyed = std::make_unique<aio::context>(8);
    const doorbell::eventfd efd;
    const doorbell::notifier watcher{efd, [&](auto&) { destroyed.reset(); }};
    efd.signal();
  };
  EXPECT_EXIT(destroy(), testing::KilledBySignal(SIGABRT), "doorbell: .* \\(docs/eventfd.md, In a callback\\)\n");
}

}  // namespace
