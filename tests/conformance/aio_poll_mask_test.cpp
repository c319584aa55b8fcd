// SPDX-License-Identifier: Apache-2.0
//
// io_submit: polls with many masks, of each kind of pollable file, for each kind of state change. Oracle: poll(2). A
// poll completes if and only if poll(2) reports one of its events, ERR or HUP, and its result is what poll(2) reports.
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <list>
#include <string>

#include "aio_row.hpp"
#include "support/child.hpp"
#include "support/eventually.hpp"
#include "support/refused_calls.hpp"

DOORBELL_TEST_FORKS

namespace doorbell::test {
namespace {

constexpr std::array<unsigned, 22> masks{0,
                                         POLLIN,
                                         POLLPRI,
                                         POLLOUT,
                                         POLLRDNORM,
                                         POLLRDBAND,
                                         POLLWRNORM,
                                         POLLWRBAND,
                                         POLLRDHUP,
                                         POLLHUP,
                                         POLLERR,
                                         POLLNVAL,
                                         POLLMSG,
                                         POLLIN | POLLOUT,
                                         POLLIN | POLLRDHUP,
                                         POLLPRI | POLLHUP,
                                         POLLIN | POLLRDNORM,
                                         POLLOUT | POLLWRNORM,
                                         POLLIN | POLLPRI,
                                         POLLPRI | POLLOUT,
                                         POLLIN | POLLRDNORM | POLLRDBAND,
                                         0xffff};

/// A pollable file, and its other end.
struct source {
  base::unique_fd polled;
  base::unique_fd peer;
};
struct scenario {
  const char* name;
  std::function<source()> make;
  std::function<void(source&)> happens;
  bool in_steps = false;   // the state changes in steps: a poll may see only some of them
  bool is_beyond = false;  // the kernel's AIO refuses to poll the file, which has two wait queues
};

source ends_of(const std::array<int, 2>& pair) { return {base::unique_fd{pair[0]}, base::unique_fd{pair[1]}}; }

/// The read end is polled.
source pipe_reader() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  return ends_of(ends);
}

void fill_up(const base::unique_fd& file) {
  const std::string some(4096, 'x');
  while (::write(file.get(), some.data(), some.size()) > 0) {
  }
}

void empty_out(const base::unique_fd& file) {
  std::array<char, 65536> some{};
  while (::read(file.get(), some.data(), some.size()) > 0) {
  }
}

source full_pipe_writer() {
  auto made = pipe_reader();
  std::swap(made.polled, made.peer);
  fill_up(made.polled);
  return made;
}

source unix_pair(int type) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
  return ends_of(ends);
}
source full(source made) {
  fill_up(made.polled);
  return made;
}

struct address {
  sockaddr_in of{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t length = sizeof of;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&of); }
};

/// The listener is polled. The peer is not connected yet.
source tcp_listener() {
  address here;
  source made{base::unique_fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)},
              base::unique_fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}};
  EXPECT_EQ(::bind(made.polled.get(), here.get(), here.length), 0);
  EXPECT_EQ(::listen(made.polled.get(), 1), 0);
  return made;
}
void connect_to(source& made) {
  address there;
  EXPECT_EQ(::getsockname(made.polled.get(), there.get(), &there.length), 0);
  EXPECT_EQ(::connect(made.peer.get(), there.get(), there.length), 0);
}
source tcp_pair() {
  auto made = tcp_listener();
  connect_to(made);
  made.polled.reset(::accept4(made.polled.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  return made;
}

source event_counter(unsigned long count) {
  source made{base::unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}, {}};
  EXPECT_EQ(::write(made.polled.get(), &count, sizeof count), 8);
  made.peer.reset(::dup(made.polled.get()));
  return made;
}
source timer() { return {base::unique_fd{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)}, {}}; }
source terminal() {
  source made{{}, base::unique_fd{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)}};
  EXPECT_EQ(::unlockpt(made.peer.get()), 0);
  made.polled.reset(::open(::ptsname(made.peer.get()), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  return made;
}

void say(source& to) { EXPECT_EQ(::write(to.peer.get(), "x\n", 2), 2); }
void close_peer(source& of) { of.peer.reset(); }
void shut_down(source& of) { EXPECT_EQ(::shutdown(of.peer.get(), SHUT_WR), 0); }
void make_room(source& of) { empty_out(of.peer); }

const std::vector<scenario>& scenarios() {
  static const std::vector<scenario> all{
      {"pipe: data", pipe_reader, say},
      {"pipe: writer closes", pipe_reader, close_peer},
      {"full pipe: room", full_pipe_writer, make_room},
      {"full pipe: reader closes", full_pipe_writer, close_peer},
      {"stream socket: data", [] { return unix_pair(SOCK_STREAM); }, say},
      {"stream socket: peer shuts down", [] { return unix_pair(SOCK_STREAM); }, shut_down},
      {"stream socket: peer closes", [] { return unix_pair(SOCK_STREAM); }, close_peer},
      {"full stream socket: data", [] { return full(unix_pair(SOCK_STREAM)); }, say},
      {"full stream socket: room", [] { return full(unix_pair(SOCK_STREAM)); }, make_room},
      {"full stream socket: peer shuts down", [] { return full(unix_pair(SOCK_STREAM)); }, shut_down},
      {"datagram socket: data", [] { return unix_pair(SOCK_DGRAM); }, say},
      {"full datagram socket: room", [] { return full(unix_pair(SOCK_DGRAM)); }, make_room},
      {"TCP: data", tcp_pair, say},
      {"TCP: urgent data", tcp_pair, [](source& to) { EXPECT_EQ(::send(to.peer.get(), "!", 1, MSG_OOB), 1); }},
      {"TCP: peer shuts down", tcp_pair, shut_down},
      {"TCP: peer closes", tcp_pair, close_peer},
      {"TCP: peer resets", tcp_pair,
       [](source& of) {
         const linger none{.l_onoff = 1, .l_linger = 0};
         EXPECT_EQ(::setsockopt(of.peer.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
         of.peer.reset();
       },
       true},
      {"TCP: connection", tcp_listener, connect_to},
      {"eventfd: count", [] { return event_counter(0); },
       [](source& to) {
         const std::uint64_t one = 1;
         EXPECT_EQ(::write(to.peer.get(), &one, sizeof one), 8);
       }},
      {"full eventfd: room", [] { return event_counter(~0UL - 1); }, make_room},
      {"timerfd", timer,
       [](source& of) {
         const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1000}};
         EXPECT_EQ(::timerfd_settime(of.polled.get(), 0, &soon, nullptr), 0);
       }},
      {"terminal: line", terminal, say, false, true},
      {"terminal: master closes", terminal, close_peer, true, true},
  };
  return all;
}

class aio_poll_mask : public aio_row {
 protected:
  struct waiting {
    iocb_abi poll;
    unsigned mask;
    bool has_completed = false;
    bool is_refused = false;
    std::int64_t res = 0;
  };

  /// @return the events of `mask` that poll(2) reports, and ERR and HUP.
  static unsigned found(const source& of, unsigned mask) {
    pollfd asked{.fd = of.polled.get(), .events = static_cast<short>(mask), .revents = 0};
    EXPECT_GE(::poll(&asked, 1, 0), 0);
    return static_cast<unsigned short>(asked.revents);
  }
  static unsigned all_found(const source& of) { return found(of, 0xffff & ~unsigned{POLLNVAL}); }

  void submit_all(const source& of) {
    for (const auto mask : masks) {
      polls_.push_back({.poll = aio::prep_poll(of.polled.get(), static_cast<std::uint16_t>(mask)), .mask = mask});
    }
    for (auto& each : polls_) {
      const int answer = submit(ctx_, each.poll);
      each.is_refused = answer == -EAGAIN && may_be_refused(each.mask);
      ASSERT_TRUE(answer == 1 || each.is_refused) << std::hex << each.mask << ": " << std::dec << answer;
    }
    std::erase_if(polls_, [](const auto& each) { return each.is_refused; });
  }
  /// @return whether submit may refuse the poll with EAGAIN: no thread can be started for it, and the ring cannot carry
  /// it out. io_uring adds RDHUP to each poll, so a poll without IN, RDNORM and RDHUP cannot go to the ring.
  [[nodiscard]] bool may_be_refused(unsigned mask) const {
    const char* const engine = std::getenv("DOORBELL_ENGINE");
    const bool has_ring = engine == nullptr || std::string{engine} != "threads";
    return has_no_threads_ && !on_kernel() && (!has_ring || (mask & (POLLIN | POLLRDNORM | POLLRDHUP)) == 0);
  }
  void note(const std::vector<io_event>& events) {
    for (const auto& event : events) {
      for (auto& each : polls_) {
        if (static_cast<iocb_abi*>(event.obj) != &each.poll) continue;
        EXPECT_FALSE(each.has_completed);
        each.has_completed = true;
        each.res = event.res;
      }
    }
  }
  /// The kernel completes a poll with the mask of the wakeup, which may name events that are not ready, or only some of
  /// the ready ones. The kernel's AIO reports that mask as it is. Doorbell's io_uring reports the requested events
  /// only.
  void expect(const source& of, const waiting& poll, bool in_steps) {
    const auto there = found(of, poll.mask);
    const auto res = static_cast<unsigned>(poll.res);
    SCOPED_TRACE(testing::Message{} << std::hex << "mask 0x" << poll.mask << ", found 0x" << there << ", res 0x"
                                    << res);
    const bool believes = on_kernel() || has_no_threads_;
    if (there != 0 || !believes) {
      EXPECT_EQ(poll.has_completed, there != 0);
    }
    if (!poll.has_completed) return;
    if (!on_kernel()) {
      EXPECT_NE(res, 0U);
      EXPECT_EQ(res & ~(poll.mask | POLLERR | POLLHUP), 0U);
    }
    if (believes || in_steps) {
      EXPECT_TRUE(there == 0 || (res & there) != 0);
    } else {
      EXPECT_EQ(res, there);
    }
  }
  /// Fetches events until `enough` polls have completed. Then submits one more poll, makes it ready, and fetches events
  /// until that poll has completed, so that late events of the others are found.
  void fetch(std::size_t enough) {
    EXPECT_TRUE(eventually([&] {
      note(events_there(ctx_));
      return completed() >= enough;
    }));
    const base::unique_fd later{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    iocb_abi last = aio::prep_poll(later.get(), POLLIN);
    const int answer = submit(ctx_, last);
    if (answer == -EAGAIN && may_be_refused(POLLIN)) return;
    ASSERT_EQ(answer, 1);
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(later.get(), &one, sizeof one), 8);
    EXPECT_TRUE(eventually([&] {
      const auto events = events_there(ctx_);
      note(events);
      return std::ranges::any_of(events, [&](const auto& event) { return static_cast<iocb_abi*>(event.obj) == &last; });
    }));
  }
  [[nodiscard]] std::size_t completed() const {
    return static_cast<std::size_t>(std::ranges::count_if(polls_, [](auto& each) { return each.has_completed; }));
  }
  [[nodiscard]] std::size_t there_are(const source& of) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(polls_, [&](auto& each) { return each.has_completed || found(of, each.mask) != 0; }));
  }

  void run(const scenario& one) {
    SCOPED_TRACE(one.name);
    polls_.clear();
    auto of = one.make();
    if (one.is_beyond && on_kernel()) {
      EXPECT_EQ(answer_to(ctx_, aio::prep_poll(of.polled.get(), POLLIN)), -EINVAL);
      return;
    }
    submit_all(of);
    note(events_there(ctx_));  // polls of events that are ready complete inside io_submit
    for (const auto& each : polls_) {
      EXPECT_EQ(each.has_completed ? each.res : 0, std::int64_t{found(of, each.mask)}) << std::hex << each.mask;
    }
    std::vector<waiting*> later;
    for (auto& each : polls_)
      if (!each.has_completed) later.push_back(&each);
    const auto before = all_found(of);
    one.happens(of);
    EXPECT_TRUE(eventually([&] { return all_found(of) != before; }));
    fetch(there_are(of));
    for (const auto* each : later) expect(of, *each, one.in_steps);
    for (auto& each : polls_) {
      if (each.has_completed) continue;
      EXPECT_EQ(side().cancel(ctx_, &each.poll, nullptr), -EINPROGRESS);
      EXPECT_EQ(result(ctx_), 0);
    }
  }

  aio_context_t ctx_ = new_context(64);
  bool has_no_threads_ = false;

 private:
  std::list<waiting> polls_;
};
ON_BOTH_SIDES(aio_poll_mask);

TEST_P(aio_poll_mask, completes_for_its_events_and_for_no_others) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  for (const auto& each : scenarios()) run(each);
  std::signal(SIGPIPE, before);
}

TEST_P(aio_poll_mask, completes_for_its_events_in_a_process_that_cannot_start_threads) {
  if (!can_refuse()) GTEST_SKIP() << "no seccomp(2)";
  in_child([this] {
    for (const long call : {SYS_clone3, SYS_clone}) refuse(call, EAGAIN);
    has_no_threads_ = true;
    ctx_ = new_context(64);
    for (const auto& each : scenarios())
      if (std::string{each.name}.find("socket") != std::string::npos) run(each);
    EXPECT_EQ(destroy(ctx_), 0);
  });
}

}  // namespace
}  // namespace doorbell::test
