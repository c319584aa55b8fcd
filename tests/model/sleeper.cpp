// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes that sleep, concurrently with the calls that wake them.
#include <doorbell/eventfd.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <system_error>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

// The deadline may pass at any moment.
const auto some_time = std::chrono::steady_clock::time_point{} + std::chrono::hours{1};

/// The body of a thread that signals, with its own reference to the context.
auto signaller(const eventfd& efd, std::uint64_t n) {
  return [n, mine = efd.context()] { mine->signal(n); };
}

}  // namespace

SCENARIO(sleeper_read_and_signal, 3,
         "a read that sleeps or begins to sleep is woken by the signal and gets the count") {
  const eventfd efd;
  std::uint64_t got = 0;
  together({{"reader", [&] { got = efd.read(); }}, {"signaller", signaller(efd, 3)}});
  REQUIRE(got == 3);
  REQUIRE(efd.context()->count() == 0);
}
AND_WEAK(sleeper_read_and_signal, 3, 3);

SCENARIO(sleeper_read_and_two_signals, 3, "a reader gets the counts of two signals, none lost and none twice") {
  const eventfd efd;
  std::uint64_t got = 0;
  together({{"reader",
             [&] {
               while (got < 3) got += efd.read();
             }},
            {"first signaller", signaller(efd, 1)},
            {"second signaller", signaller(efd, 2)}});
  REQUIRE(got == 3);
}

SCENARIO(sleeper_two_reads_of_a_semaphore, 3, "two readers of a semaphore both wake and get one unit each") {
  const eventfd efd{0, EFD_SEMAPHORE};
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  together({{"first reader", [&] { first = efd.read(); }},
            {"second reader", [&] { second = efd.read(); }},
            {"signaller", signaller(efd, 2)}});
  REQUIRE(first == 1 && second == 1);
  REQUIRE(efd.context()->count() == 0);
}
AND_WEAK(sleeper_two_reads_of_a_semaphore, 2, 1);

SCENARIO(sleeper_timed_read_and_signal, 3,
         "a read whose timeout expires as the signal arrives takes the count, or times out and leaves it") {
  const eventfd efd;
  std::uint64_t got = 0;
  std::error_code ec;
  together({{"reader", [&] { got = efd.read_until(some_time, ec); }}, {"signaller", signaller(efd, 1)}});
  REQUIRE(ec ? ec == std::errc::timed_out : true);
  REQUIRE(got == (ec ? 0 : 1));
  REQUIRE(got + efd.context()->count() == 1);
}
AND_WEAK(sleeper_timed_read_and_signal, 3, 3);

SCENARIO(sleeper_timed_read_and_hup, 3,
         "a read that sleeps when the last handle is destroyed fails, and its stack is not accessed any more") {
  // The handle is destroyed during the read, which is a bug of the program. Its memory stays valid.
  alignas(eventfd) std::array<std::byte, sizeof(eventfd)> place{};
  auto* const handle = new (place.data()) eventfd;
  const auto context = handle->context();
  std::error_code ec;
  together({{"reader",
             [&] {
               handle->read_until(some_time, ec);
               handle->read_until(some_time, ec);  // uses the same stack memory again
             }},
            {"closer", [&] { std::destroy_at(handle); }}});
  REQUIRE(ec == std::errc::timed_out || ec == std::errc::bad_file_descriptor);
}
AND_WEAK(sleeper_timed_read_and_hup, 3, 2);

SCENARIO(sleeper_timed_and_untimed, 3, "if a reader leaves its count at a timeout, the count wakes the other reader") {
  const eventfd efd{0, EFD_SEMAPHORE};
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  std::error_code ec;
  together({{"timed reader", [&] { first = efd.read_until(some_time, ec); }},
            {"reader", [&] { second = efd.read(); }},
            {"signaller", signaller(efd, 2)}});
  REQUIRE(second == 1);
  REQUIRE(first + efd.context()->count() == 1);
}

SCENARIO(sleeper_write_and_read, 3, "a write that waits for room gets it from the read, and its count is added once") {
  const eventfd efd;
  efd.write(eventfd::max);
  std::uint64_t got = 0;
  together({{"writer", [&] { efd.write(1); }}, {"reader", [&] { got = efd.read(); }}});
  const auto left = efd.context()->count();
  REQUIRE(got == eventfd::max && left == 1);
}
AND_WEAK(sleeper_write_and_read, 3, 2);

SCENARIO(sleeper_write_and_timed_write, 3, "a timed write adds its count, or fails and does not add it") {
  const eventfd efd;
  efd.write(eventfd::max);
  std::error_code ec;
  std::uint64_t got = 0;
  together({{"timed writer", [&] { efd.write_until(1, some_time, ec); }},
            {"writer", [&] { efd.write(2); }},
            {"reader", [&] { got = efd.read(); }}});
  REQUIRE(got == eventfd::max);
  REQUIRE(efd.context()->count() == (ec ? 2 : 3));
}

SCENARIO(sleeper_writes_that_may_not_sleep, 3,
         "if there is room for one of two non-blocking writes, one succeeds and the other fails") {
  const eventfd efd{0, EFD_NONBLOCK};
  efd.write(eventfd::max - 1);
  std::error_code first;
  std::error_code second;
  together({{"first writer", [&] { efd.write(1, first); }}, {"second writer", [&] { efd.write(1, second); }}});
  REQUIRE(static_cast<bool>(first) != static_cast<bool>(second));
  REQUIRE(efd.context()->count() == eventfd::max);
}

SCENARIO(sleeper_stop_and_signal, 3, "a read that is stopped as the signal arrives takes the count or leaves it") {
  const eventfd efd;
  std::stop_source stop;
  std::uint64_t got = 0;
  std::error_code ec;
  together({{"reader", [&] { got = efd.read(stop.get_token(), ec); }},
            {"signaller", signaller(efd, 1)},
            {"stopper", [&] { stop.request_stop(); }}});
  REQUIRE(ec ? ec == std::errc::operation_canceled : true);
  REQUIRE(got + efd.context()->count() == 1);
}
AND_WEAK(sleeper_stop_and_signal, 2, 2);

SCENARIO(sleeper_drain_against_read, 3, "each count goes to either a concurrent drain or a concurrent read") {
  const eventfd efd{1};
  std::uint64_t drained = 0;
  std::uint64_t got = 0;
  std::error_code ec;
  together({{"drainer",
             [&] {
               std::error_code refused;
               drained = efd.context()->drain(refused);
             }},
            {"reader", [&] { got = efd.read_until(some_time, ec); }},
            {"signaller", signaller(efd, 2)}});
  REQUIRE(drained + got + efd.context()->count() == 3);
}

}  // namespace doorbell::model
