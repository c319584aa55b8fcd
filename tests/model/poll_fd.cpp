// SPDX-License-Identifier: Apache-2.0
//
// poll_fd: a kernel descriptor that is consistent with the count.
#include <doorbell/eventfd.hpp>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>

#include <doorbell/base/unique_fd.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

bool is_readable(int fd) {
  pollfd asked{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&asked, 1, 0) == 1;
}

/// Reads the kernel's counter, which sets it to 0.
std::uint64_t take_kernel_count(int fd) {
  std::uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

void drain(const eventfd& bell) {
  std::error_code ec;
  bell.context()->drain(ec);
}

void require_in_line(const eventfd& bell) {
  const int fd = bell.poll_fd();
  const bool there = bell.context()->count() > 0;
  REQUIRE(is_readable(fd) == there);
  REQUIRE(take_kernel_count(fd) == (there ? 1 : 0));  // written once, whatever the number of signals
}

}  // namespace

SCENARIO(poll_fd_made_while_signalled, 3, "in the end the descriptor is readable exactly if the count is above 0") {
  const eventfd bell;
  together({{"maker", [&] { bell.poll_fd(); }},
            {"signaller", [mine = bell.context()] { mine->signal(); }},
            {"drainer", [&] { drain(bell); }}});
  require_in_line(bell);
}

SCENARIO(poll_fd_signals_and_drain, 3,
         "signals and a drain in any order leave the descriptor consistent with the count") {
  const eventfd bell;
  bell.poll_fd();
  together({{"first signaller", [mine = bell.context()] { mine->signal(); }},
            {"second signaller", [mine = bell.context()] { mine->signal(); }},
            {"drainer", [&] { drain(bell); }}});
  require_in_line(bell);
}

SCENARIO(poll_fd_whenever_the_lock_is_free, 3,
         "a thread that holds the lock finds the descriptor consistent with the count") {
  const eventfd bell{0, EFD_NONBLOCK};
  const int fd = bell.poll_fd();
  const auto look = [&] {
    const eventfd_ctx_lock held{*bell.unreferenced_context()};
    REQUIRE(is_readable(fd) == (bell.unreferenced_context()->count_locked() > 0));
  };
  together({{"signaller", [mine = bell.context()] { mine->signal(); }},
            {"reader",
             [&] {
               std::error_code ec;
               bell.read(ec);
               look();
             }},
            {"writer", [&] {
               bell.write(1);
               look();
             }}});
  look();
}

SCENARIO(poll_fd_edges, 3, "a loop that reads once for each edge gets every count") {
  const eventfd bell{0, EFD_NONBLOCK};
  const base::unique_fd loop{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event asked{.events = EPOLLIN | EPOLLET, .data = {}};
  REQUIRE(::epoll_ctl(loop.get(), EPOLL_CTL_ADD, bell.poll_fd(), &asked) == 0);
  std::uint64_t got = 0;
  together({{"signaller", [mine = bell.context()] { mine->signal(); }},
            {"writer", [&] { bell.write(1); }},
            {"loop", [&] {
               while (got < 2) {
                 epoll_event told{};
                 REQUIRE(::epoll_wait(loop.get(), &told, 1, -1) == 1);
                 std::error_code ec;
                 got += bell.read(ec);
               }
             }}});
  REQUIRE(got == 2);
}

SCENARIO(poll_fd_made_twice, 3,
         "two concurrent calls of poll_fd() return the same descriptor, and a second one that was created is closed") {
  const eventfd bell;
  int first = -1;
  int second = -1;
  together({{"first", [&] { first = bell.poll_fd(); }}, {"second", [&] { second = bell.poll_fd(); }}});
  REQUIRE(first == second);
}

SCENARIO(poll_fd_and_hup, 3, "the last close closes the descriptor while another thread signals") {
  eventfd bell;
  bell.poll_fd();
  together({{"closer", [&] { bell.close(); }}, {"signaller", [mine = bell.context()]() mutable {
                                                  mine->signal();
                                                  mine.reset();
                                                }}});
}

}  // namespace doorbell::model
