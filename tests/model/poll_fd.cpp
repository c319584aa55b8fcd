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

void drain(const eventfd& efd) {
  std::error_code ec;
  efd.context()->drain(ec);
}

void require_consistent(const eventfd& efd) {
  const int fd = efd.poll_fd();
  const bool there = efd.context()->count() > 0;
  REQUIRE(is_readable(fd) == there);
  REQUIRE(take_kernel_count(fd) == (there ? 1 : 0));  // written once, whatever the number of signals
}

}  // namespace

SCENARIO(poll_fd_made_while_signalled, 3, "in the end the descriptor is readable exactly if the count is above 0") {
  const eventfd efd;
  together({{"maker", [&] { efd.poll_fd(); }},
            {"signaller", [mine = efd.context()] { mine->signal(); }},
            {"drainer", [&] { drain(efd); }}});
  require_consistent(efd);
}

SCENARIO(poll_fd_signals_and_drain, 3,
         "signals and a drain in any order leave the descriptor consistent with the count") {
  const eventfd efd;
  efd.poll_fd();
  together({{"first signaller", [mine = efd.context()] { mine->signal(); }},
            {"second signaller", [mine = efd.context()] { mine->signal(); }},
            {"drainer", [&] { drain(efd); }}});
  require_consistent(efd);
}

SCENARIO(poll_fd_whenever_the_lock_is_free, 3,
         "a thread that holds the lock finds the descriptor consistent with the count") {
  const eventfd efd{0, EFD_NONBLOCK};
  const int fd = efd.poll_fd();
  const auto look = [&] {
    const eventfd_ctx_lock held{*efd.unreferenced_context()};
    REQUIRE(is_readable(fd) == (efd.unreferenced_context()->count_locked() > 0));
  };
  together({{"signaller", [mine = efd.context()] { mine->signal(); }},
            {"reader",
             [&] {
               std::error_code ec;
               efd.read(ec);
               look();
             }},
            {"writer", [&] {
               efd.write(1);
               look();
             }}});
  look();
}

SCENARIO(poll_fd_edges, 3, "a loop that reads once for each edge gets every count") {
  const eventfd efd{0, EFD_NONBLOCK};
  const base::unique_fd loop{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event asked{.events = EPOLLIN | EPOLLET, .data = {}};
  REQUIRE(::epoll_ctl(loop.get(), EPOLL_CTL_ADD, efd.poll_fd(), &asked) == 0);
  std::uint64_t got = 0;
  together({{"signaller", [mine = efd.context()] { mine->signal(); }},
            {"writer", [&] { efd.write(1); }},
            {"loop", [&] {
               while (got < 2) {
                 epoll_event told{};
                 REQUIRE(::epoll_wait(loop.get(), &told, 1, -1) == 1);
                 std::error_code ec;
                 got += efd.read(ec);
               }
             }}});
  REQUIRE(got == 2);
}

SCENARIO(poll_fd_made_twice, 3,
         "two concurrent calls of poll_fd() return the same descriptor, and a second one that was created is closed") {
  const eventfd efd;
  int first = -1;
  int second = -1;
  together({{"first", [&] { first = efd.poll_fd(); }}, {"second", [&] { second = efd.poll_fd(); }}});
  REQUIRE(first == second);
}

SCENARIO(poll_fd_and_hup, 3, "the last close closes the descriptor while another thread signals") {
  eventfd efd;
  efd.poll_fd();
  together({{"closer", [&] { efd.close(); }}, {"signaller", [mine = efd.context()]() mutable {
                                                 mine->signal();
                                                 mine.reset();
                                               }}});
}

}  // namespace doorbell::model
