// SPDX-License-Identifier: Apache-2.0
//
// forward_to: counts that move to a kernel eventfd.
#include <doorbell/eventfd.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>

#include <doorbell/base/unique_fd.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::unique_fd;

unique_fd make_target(unsigned initial, int flags) { return unique_fd{::eventfd(initial, flags)}; }

std::uint64_t read_all(const unique_fd& fd) {
  std::uint64_t count = 0;
  return ::read(fd.get(), &count, sizeof count) == sizeof count ? count : 0;
}

auto signaller(const eventfd& efd, std::uint64_t n = 1) {
  return [n, mine = efd.context()]() mutable {
    mine->signal(n);
    mine.reset();
  };
}

}  // namespace

SCENARIO(forward_begun_while_signalled, 3,
         "the counts read from the target and left in the eventfd add up to the sum of the signals") {
  const eventfd efd;
  const auto target = make_target(0, EFD_NONBLOCK);
  together({{"forwarder", [&] { efd.forward_to(target.get()); }},
            {"first signaller", signaller(efd)},
            {"second signaller", signaller(efd, 2)}});
  REQUIRE(efd.context()->count() == 0);
  REQUIRE(read_all(target) == 3);
}

SCENARIO(forward_ended_while_signalled, 3,
         "when forwarding ends, a count is in the target or in the eventfd, never in both or in neither") {
  const eventfd efd;
  const auto target = make_target(0, EFD_NONBLOCK);
  efd.forward_to(target.get());
  together({{"ender", [&] { efd.stop_forwarding(); }}, {"signaller", signaller(efd)}});
  REQUIRE(read_all(target) + efd.context()->count() == 1);
}

SCENARIO(forward_when_full, 2,
         "a signal to a full target does not block; its count stays in the eventfd and moves with a later signal") {
  const eventfd efd;
  const auto target = make_target(0, 0);
  const std::uint64_t full = eventfd::max;
  REQUIRE(::write(target.get(), &full, sizeof full) == sizeof full);
  efd.forward_to(target.get());
  efd.signal();  // no thread reads the target
  std::uint64_t got = 0;
  together({{"signaller", signaller(efd)}, {"other signaller", signaller(efd)}, {"reader over there", [&] {
                                                                                   got = read_all(target);
                                                                                 }}});
  REQUIRE(got == full);
  efd.signal();
  REQUIRE(read_all(target) == 4);
  REQUIRE(efd.context()->count() == 0);
}

SCENARIO(forward_makes_room, 3, "a write that waits for room in the eventfd gets it when forwarding begins") {
  const eventfd efd;
  const auto target = make_target(0, EFD_NONBLOCK);
  efd.write(eventfd::max);
  together({{"writer", [&] { efd.write(5); }}, {"forwarder", [&] { efd.forward_to(target.get()); }}});
  REQUIRE(read_all(target) == eventfd::max);
  REQUIRE(efd.context()->count() == 5);
}

SCENARIO(forward_makes_room_later, 3,
         "a write that waits for room in the eventfd gets it from a signal that moves the count") {
  const eventfd efd;
  const auto target = make_target(0, EFD_NONBLOCK);
  efd.write(eventfd::max);
  efd.forward_to(target.get());
  efd.write(eventfd::max);  // the target has no room for it
  together({{"writer", [&] { efd.write(5); }}, {"reader over there", [&] {
                                                  REQUIRE(read_all(target) == eventfd::max);
                                                  efd.signal(0);
                                                }}});
  REQUIRE(read_all(target) == eventfd::max);
  REQUIRE(efd.context()->count() == 5);
}

SCENARIO(forward_number_used_again, 3,
         "forwarding uses the target that it began with, even if the number is reused for another eventfd") {
  const eventfd efd;
  auto target = make_target(0, EFD_NONBLOCK);
  const unique_fd same{::fcntl(target.get(), F_DUPFD_CLOEXEC, 0)};
  efd.forward_to(target.get());
  unique_fd other;
  together({{"signaller", signaller(efd)}, {"program", [&] {
                                              target.reset();
                                              other = make_target(0, EFD_NONBLOCK);
                                            }}});
  REQUIRE(read_all(same) == 1);
  REQUIRE(read_all(other) == 0);
}

SCENARIO(forward_and_hup, 3, "the last close moves the count, and closes the descriptor used for forwarding") {
  eventfd efd;
  const auto target = make_target(0, EFD_NONBLOCK);
  const auto context = efd.context();
  efd.forward_to(target.get());
  together({{"closer", [&] { efd.close(); }}, {"signaller", signaller(efd)}});
  REQUIRE(read_all(target) + context->count() == 1);
}

SCENARIO(forward_against_drain, 3, "a count is drained from the eventfd or read from the target, never both") {
  const eventfd efd;
  const auto target = make_target(0, EFD_NONBLOCK);
  efd.forward_to(target.get());
  std::uint64_t drained = 0;
  together({{"first signaller", signaller(efd)}, {"second signaller", signaller(efd, 2)}, {"drainer", [&] {
                                                                                             std::error_code ec;
                                                                                             drained =
                                                                                                 efd.context()->drain(
                                                                                                     ec);
                                                                                           }}});
  REQUIRE(efd.context()->count() == 0);
  REQUIRE(read_all(target) + drained == 3);
}

SCENARIO(forward_comes_back, 3,
         "a count that does not fit into the target fits back into the eventfd: its room stays reserved meanwhile") {
  const eventfd efd{0, EFD_NONBLOCK};
  efd.write(eventfd::max);
  const auto target = make_target(0, EFD_NONBLOCK);
  const std::uint64_t full = eventfd::max;
  REQUIRE(::write(target.get(), &full, sizeof full) == sizeof full);
  std::error_code ec;
  together({{"forwarder", [&] { efd.forward_to(target.get()); }}, {"writer", [&] { efd.write(5, ec); }}});
  REQUIRE(ec == std::errc::resource_unavailable_try_again);
  REQUIRE(efd.context()->count() == eventfd::max);
}

SCENARIO(forward_comes_back_to_reader, 3,
         "a reader that arrives while a count is being moved gets it if the target refuses it") {
  const eventfd efd{3};
  const auto target = make_target(0, EFD_NONBLOCK);
  const std::uint64_t full = eventfd::max;
  REQUIRE(::write(target.get(), &full, sizeof full) == sizeof full);
  std::uint64_t got = 0;
  together({{"forwarder", [&] { efd.forward_to(target.get()); }}, {"reader", [&] { got = efd.read(); }}});
  REQUIRE(got == 3);
}

SCENARIO(forward_and_poll_fd, 3, "in the end the descriptor is readable exactly if the eventfd still has a count") {
  const eventfd efd;
  const int fd = efd.poll_fd();
  const auto target = make_target(0, EFD_NONBLOCK);
  const std::uint64_t nearly_full = eventfd::max - 1;
  REQUIRE(::write(target.get(), &nearly_full, sizeof nearly_full) == sizeof nearly_full);
  efd.forward_to(target.get());
  together({{"first signaller", signaller(efd)}, {"second signaller", signaller(efd)}});
  REQUIRE(efd.context()->count() == 1);
  pollfd asked{.fd = fd, .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&asked, 1, 0) == 1);
  REQUIRE(read_all(target) == eventfd::max);
  efd.signal(0);
  REQUIRE(efd.context()->count() == 0);
  REQUIRE(::poll(&asked, 1, 0) == 0);
}

}  // namespace doorbell::model
