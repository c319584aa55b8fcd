// SPDX-License-Identifier: Apache-2.0
//
// Handles: copies, closing, and how a call reports an error, in both forms.
#include <doorbell/eventfd.hpp>

#include <gtest/gtest.h>

#include <poll.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <system_error>
#include <utility>

#include <doorbell/base/wait_queue.hpp>

#include "support/errors.hpp"

namespace {

namespace base = doorbell::base;
using doorbell::eventfd;
using doorbell::test::error_of;
using doorbell::test::thrown_by;
using namespace std::chrono_literals;

TEST(eventfd_handle, is_open_until_closed) {
  eventfd efd;
  EXPECT_TRUE(efd.is_open());
  efd.close();
  EXPECT_FALSE(efd.is_open());
}

TEST(eventfd_handle, starts_with_a_count_of_32_bits) {
  EXPECT_EQ(eventfd{}.info().count, 0U);
  EXPECT_EQ(eventfd{7}.info().count, 7U);
  EXPECT_EQ(eventfd{UINT32_MAX}.info().count, UINT32_MAX);
}

TEST(eventfd_handle, takes_the_kernels_flags_and_no_others) {
  for (const int good : std::initializer_list<int>{0, EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE,
                                                   EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE}) {
    std::error_code ec;
    EXPECT_TRUE((eventfd{0, good, ec}.is_open()));
    EXPECT_FALSE(ec);
  }
  for (const int bad : {2, EFD_NONBLOCK | 4, -1}) {
    EXPECT_EQ(error_of([&](auto& ec) { EXPECT_FALSE((eventfd{0, bad, ec}.is_open())); }), std::errc::invalid_argument);
    EXPECT_EQ(thrown_by([&] { const eventfd refused(0, bad); }), std::errc::invalid_argument);
  }
}

TEST(eventfd_handle, a_copy_is_a_handle_on_the_same_count) {
  const eventfd efd{1};
  const eventfd copy = efd;
  copy.signal(2);
  EXPECT_EQ(efd.info().id, copy.info().id);
  EXPECT_EQ(efd.read(), 3U);
}

TEST(eventfd_handle, a_copy_stays_open_after_the_original_is_closed) {
  eventfd efd{1};
  const eventfd copy = efd;
  efd.close();
  EXPECT_TRUE(copy.is_open());
  EXPECT_EQ(copy.read(), 1U);
}

TEST(eventfd_handle, a_copy_of_a_closed_handle_is_closed) {
  eventfd efd;
  efd.close();
  const eventfd copy = efd;
  EXPECT_FALSE(copy.is_open());
}

TEST(eventfd_handle, a_move_leaves_a_closed_handle_behind) {
  eventfd efd{5};
  const eventfd moved = std::move(efd);
  EXPECT_FALSE(efd.is_open());  // NOLINT(bugprone-use-after-move): the test checks this state
  EXPECT_EQ(moved.read(), 5U);
}

TEST(eventfd_handle, assignment_closes_the_previous_eventfd) {
  eventfd efd{1};
  const auto context = efd.context();
  eventfd other{2};
  efd = other;
  EXPECT_EQ(efd.info().id, other.info().id);
  EXPECT_NE(efd.info().id, context->info().id);
  efd = std::move(other);
  EXPECT_EQ(efd.read(), 2U);
}

TEST(eventfd_handle, assignment_to_itself_changes_nothing) {
  eventfd efd{3};
  const auto id = efd.info().id;
  auto& itself = efd;
  efd = itself;
  EXPECT_EQ(efd.info().id, id);
  efd = std::move(itself);
  ASSERT_TRUE(efd.is_open());
  EXPECT_EQ(efd.info().id, id);
  EXPECT_EQ(efd.read(), 3U);
}

TEST(eventfd_handle, ids_are_not_reused) {
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    const eventfd efd;
    EXPECT_GT(efd.info().id, last);
    last = efd.info().id;
  }
}

TEST(eventfd_handle, info_returns_count_and_kind) {
  const eventfd plain{4};
  const eventfd semaphore(5, EFD_SEMAPHORE);
  EXPECT_EQ(plain.info().count, 4U);
  EXPECT_FALSE(plain.info().semaphore);
  EXPECT_EQ(semaphore.info().count, 5U);
  EXPECT_TRUE(semaphore.info().semaphore);
}

TEST(eventfd_handle, a_reference_to_the_context_keeps_it_in_memory_but_not_open) {
  eventfd efd{1};
  const auto context = efd.context();
  EXPECT_EQ(context.get(), efd.unreferenced_context());
  efd.close();
  context->signal(2);
  EXPECT_EQ(context->count(), 3U);
  EXPECT_EQ(context->drain(), 3U);
}

TEST(eventfd_handle, a_closed_handle_has_no_context) {
  eventfd efd;
  efd.close();
  EXPECT_EQ(efd.context(), nullptr);
  EXPECT_EQ(efd.unreferenced_context(), nullptr);
}

TEST(eventfd_handle, after_the_last_close_no_entry_can_be_attached) {
  eventfd efd;
  eventfd copy = efd;
  const auto context = efd.context();
  const auto attached = [&](base::wait_entry& entry) {
    const doorbell::eventfd_ctx_lock held{*context};
    if (!context->attach(entry)) return false;
    context->detach(entry);
    EXPECT_FALSE(context->release_share());
    return true;
  };
  base::wait_entry entry{[](base::wait_entry&, unsigned) noexcept { return 0; }};
  efd.close();
  EXPECT_TRUE(attached(entry));
  copy.close();
  EXPECT_FALSE(attached(entry));
  EXPECT_FALSE(entry.linked());
}

/// Calls a handle in both forms: as `with_code(efd, ec)`, and as `throwing(efd)`.
template <class WithCode, class Throwing>
void expect_bad_file_descriptor(const char* what, WithCode with_code, Throwing throwing) {
  eventfd closed;
  closed.close();
  EXPECT_EQ(error_of([&](auto& ec) { with_code(closed, ec); }), std::errc::bad_file_descriptor) << what;
  EXPECT_EQ(thrown_by([&] { throwing(closed); }), std::errc::bad_file_descriptor) << what;

  eventfd open{1};
  EXPECT_EQ(error_of([&](auto& ec) { with_code(open, ec); }), std::error_code{}) << what;
  eventfd another{1};
  EXPECT_EQ(thrown_by([&] { throwing(another); }), std::error_code{}) << what;
}

TEST(eventfd_handle, every_call_on_a_closed_handle_reports_a_bad_descriptor) {
  const std::stop_token never;
  std::array<std::byte, 8> bytes{};
  const auto check = [](const char* what, auto with_code, auto throwing) {
    expect_bad_file_descriptor(what, with_code, throwing);
  };
  check("close", [](auto& e, auto& ec) { e.close(ec); }, [](auto& e) { e.close(); });
  check("signal", [](auto& e, auto& ec) { e.signal(1, ec); }, [](auto& e) { e.signal(); });
  check("read", [](auto& e, auto& ec) { e.read(ec); }, [](auto& e) { e.read(); });
  check("read, stop", [&](auto& e, auto& ec) { e.read(never, ec); }, [&](auto& e) { e.read(never); });
  check("read_for", [](auto& e, auto& ec) { e.read_for(1s, ec); }, [](auto& e) { e.read_for(1s); });
  check("read, buffer", [&](auto& e, auto& ec) { e.read(bytes, ec); }, [&](auto& e) { e.read(bytes); });
  check("write", [](auto& e, auto& ec) { e.write(1, ec); }, [](auto& e) { e.write(1); });
  check("write, stop", [&](auto& e, auto& ec) { e.write(1, never, ec); }, [&](auto& e) { e.write(1, never); });
  check("write_for", [](auto& e, auto& ec) { e.write_for(1, 1s, ec); }, [](auto& e) { e.write_for(1, 1s); });
  check(
      "write, buffer", [](auto& e, auto& ec) { e.write(std::as_bytes(std::span{"1234567", 8}), ec); },
      [](auto& e) { e.write(std::as_bytes(std::span{"1234567", 8})); });
  check("poll_fd", [](auto& e, auto& ec) { e.poll_fd(ec); }, [](auto& e) { e.poll_fd(); });
  check("info", [](auto& e, auto& ec) { (void)e.info(ec); }, [](auto& e) { (void)e.info(); });
}

TEST(eventfd_handle, forwarding_from_a_closed_handle_reports_a_bad_descriptor) {
  eventfd closed;
  closed.close();
  EXPECT_EQ(error_of([&](auto& ec) { closed.forward_to(0, ec); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(thrown_by([&] { closed.forward_to(0); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([&](auto& ec) { closed.stop_forwarding(ec); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(thrown_by([&] { closed.stop_forwarding(); }), std::errc::bad_file_descriptor);
}

TEST(eventfd_handle, a_closed_handle_polls_as_invalid) {
  eventfd efd;
  efd.close();
  EXPECT_EQ(efd.poll(), static_cast<unsigned>(POLLNVAL));
}

TEST(eventfd_handle, signals_alike_with_and_without_an_error_code) {
  const eventfd efd;
  std::error_code ec;
  efd.signal(3, ec);
  EXPECT_FALSE(ec);
  efd.signal(4);
  EXPECT_EQ(efd.read(), 7U);
}

TEST(eventfd_handle, a_closed_handle_transfers_nothing) {
  auto efd = eventfd::closed();
  EXPECT_FALSE(efd.is_open());
  const auto refused = std::make_error_code(std::errc::bad_file_descriptor);
  std::array<std::byte, 8> buffer{};
  EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.read(ec), 0U); }), refused);
  EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.read(buffer, ec), 0U); }), refused);
  EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.write(buffer, ec), 0U); }), refused);
  EXPECT_EQ(error_of([&](auto& ec) { EXPECT_EQ(efd.poll_fd(ec), -1); }), refused);
}

}  // namespace
