// SPDX-License-Identifier: Apache-2.0
//
// The process's reaper, and the kernel eventfds that programs name in their requests: which requests complete although
// no thread calls io_getevents, and which eventfd gets the counts. The calls are made by handle, as by an unmodified
// program.
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/unique_fd.hpp>
#include <doorbell/eventfd.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include "model_engine.hpp"
#include "resfd/resfd.hpp"
#include "scenario.hpp"
#include "seam/kernel.hpp"

namespace doorbell::model {
namespace {

using base::unique_fd;

const int some_file = ::open("/dev/null", O_RDWR | O_CLOEXEC);

constexpr std::uint64_t full = eventfd::max;

unique_fd make_eventfd(int flags = 0) { return unique_fd{::eventfd(0, flags)}; }

/// Waits for a count if the descriptor is blocking. @return the count; 0 if there is none and the descriptor is
/// non-blocking.
std::uint64_t read_from(const unique_fd& efd) {
  std::uint64_t count = 0;
  return ::read(efd.get(), &count, sizeof count) == sizeof count ? count : 0;
}

bool write_to(const unique_fd& efd, std::uint64_t count) {
  return ::write(efd.get(), &count, sizeof count) == sizeof count;
}

bool is_readable(const unique_fd& efd) {
  pollfd asked{.fd = efd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&asked, 1, 0) == 1;
}

/// A context, and the calls of the program that owns it.
class a_context {
 public:
  a_context() {
    REQUIRE(aio::io_setup(2, &handle_) == 0);
    disk_ = device::take_last();
    requests_.fill(aio::prep_poll(some_file, POLLIN));
  }
  ~a_context() {
    if (handle_ != 0) destroy();
  }
  a_context(const a_context&) = delete;
  a_context& operator=(const a_context&) = delete;

  /// @return the result of io_submit.
  int try_to_submit(int resfd, std::size_t which = 0) {
    auto& asked = requests_[which];
    asked.flags = aio::iocb_abi::flag_resfd;
    asked.resfd = static_cast<std::uint32_t>(resfd);
    aio::iocb_abi* one = &asked;
    return aio::io_submit(handle_, 1, &one);
  }
  void submit(const unique_fd& efd, std::size_t which = 0) { REQUIRE(try_to_submit(efd.get(), which) == 1); }
  void submit_both(const unique_fd& efd) {
    submit(efd, 0);
    submit(efd, 1);
  }
  void submit_without_eventfd() {
    aio::iocb_abi* one = requests_.data();
    one->flags = 0;
    REQUIRE(aio::io_submit(handle_, 1, &one) == 1);
  }

  void complete_one() { disk_->complete_one(); }
  [[nodiscard]] device& disk() noexcept { return *disk_; }

  /// @return the result of io_getevents.
  int get(long least) {
    std::array<aio::io_event, 2> events{};
    return aio::io_getevents(handle_, least, 2, events.data(), nullptr);
  }
  /// The number of events that the program finds in the ring without a call.
  [[nodiscard]] unsigned in_ring() const {
    auto& ring = *reinterpret_cast<ring_header*>(handle_);
    const auto tail = base::atomic_ref<unsigned>{ring.tail}.load(base::memory_order_acquire);
    return (tail + ring.nr - base::atomic_ref<unsigned>{ring.head}.load(base::memory_order_relaxed)) % ring.nr;
  }

  void destroy() { REQUIRE(aio::io_destroy(std::exchange(handle_, 0)) == 0); }

 private:
  struct ring_header {
    unsigned id;
    unsigned nr;
    unsigned head;
    unsigned tail;
  };

  aio::aio_context_t handle_ = 0;
  std::shared_ptr<device> disk_;
  std::array<aio::iocb, 2> requests_;
};

/// Lets the reaper visit the contexts that it does not watch.
void pass_a_round() {
  let_time_pass();
  let_background_rest();
}

}  // namespace

SCENARIO(reaper_completes_and_signals, 3,
         "a request completes without a call of io_getevents: a thread that reads the kernel eventfd finds the event") {
  a_context all;
  const auto efd = make_eventfd();
  all.submit(efd);
  together({{"device", [&] { all.complete_one(); }}, {"listener", [&] {
                                                        REQUIRE(read_from(efd) == 1);
                                                        REQUIRE(all.in_ring() == 1);
                                                      }}});
  let_background_rest();
  REQUIRE(!is_readable(efd));
}

SCENARIO(reaper_signals_once_for_each, 3,
         "the eventfd gets 1 for each request, also if they are reaped one at a time") {
  a_context all;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  all.disk().give_singly();
  all.submit_both(efd);
  together({{"device", [&] {
               all.complete_one();
               all.complete_one();
             }}});
  let_background_rest();
  REQUIRE(read_from(efd) == 2);
  REQUIRE(all.in_ring() == 2);
}

SCENARIO(reaper_and_getter, 3, "a completion for which the reaper and a getter compete is signalled once") {
  a_context all;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  all.submit(efd);
  int got = 0;
  together({{"device", [&] { all.complete_one(); }}, {"getter", [&] { got = all.get(1); }}});
  let_background_rest();
  REQUIRE(got == 1 && all.in_ring() == 0);
  REQUIRE(read_from(efd) == 1);
}

SCENARIO(reaper_starts, 3, "concurrent requests that need the reaper start one reaper, which watches both contexts") {
  a_context first;
  a_context second;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  const auto other_eventfd = make_eventfd(EFD_NONBLOCK);
  together(
      {{"first submitter", [&] { first.submit(efd); }}, {"second submitter", [&] { second.submit(other_eventfd); }}});
  REQUIRE(in_background() == 1);
  first.complete_one();
  second.complete_one();
  let_background_rest();
  REQUIRE(read_from(efd) == 1);
  REQUIRE(read_from(other_eventfd) == 1);
}

SCENARIO(reaper_starts_for_one, 2,
         "if two concurrent submits need the reaper for the same context, both requests signal the eventfd") {
  a_context all;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  together({{"submitter", [&] { all.submit(efd, 0); }}, {"other submitter", [&] { all.submit(efd, 1); }}});
  REQUIRE(in_background() == 1);
  all.complete_one();
  all.complete_one();
  let_background_rest();
  REQUIRE(read_from(efd) == 2);
}

SCENARIO(reaper_and_destroy, 3,
         "a completion that is reaped as its context is destroyed is signalled; the context is not accessed later") {
  a_context all;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  all.submit(efd);
  together({{"device", [&] { all.disk().complete_one_if_any(); }}, {"destroyer", [&] { all.destroy(); }}});
  let_background_rest();
  REQUIRE(read_from(efd) == 1);
}
AND_WEAK(reaper_and_destroy, 2, 2);

SCENARIO(reaper_and_two_ends, 2,
         "a context that is destroyed is no longer watched, and the other context's request is signalled") {
  a_context ends;
  a_context stays;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  const auto other_eventfd = make_eventfd(EFD_NONBLOCK);
  ends.submit(efd);
  stays.submit(other_eventfd);
  together({{"device",
             [&] {
               ends.disk().complete_one_if_any();
               stays.complete_one();
             }},
            {"destroyer", [&] { ends.destroy(); }}});
  let_background_rest();
  REQUIRE(read_from(efd) == 1);
  REQUIRE(read_from(other_eventfd) == 1);
}

SCENARIO(resfd_number_used_again, 3,
         "a count goes to the eventfd that had the number at submission, even if the number is reused") {
  a_context all;
  auto efd = make_eventfd(EFD_NONBLOCK);
  const unique_fd same{::fcntl(efd.get(), F_DUPFD_CLOEXEC, 0)};
  all.submit(efd);
  const int number = efd.get();
  together({{"device", [&] { all.complete_one(); }}, {"program", [&] {
                                                        efd.reset();
                                                        efd = make_eventfd(EFD_NONBLOCK);
                                                      }}});
  let_background_rest();
  REQUIRE(efd.get() == number);
  REQUIRE(read_from(same) == 1);
  REQUIRE(read_from(efd) == 0);
  all.submit(efd, 1);
  all.complete_one();
  let_background_rest();
  REQUIRE(read_from(same) == 0);
  REQUIRE(read_from(efd) == 1);
}

SCENARIO(resfd_number_used_again_at_submit, 3,
         "if the number becomes another eventfd's during a submit, the submit fails, or the request signals one of the "
         "two eventfds, once") {
  a_context all;
  auto efd = make_eventfd(EFD_NONBLOCK);
  const unique_fd same{::fcntl(efd.get(), F_DUPFD_CLOEXEC, 0)};
  int taken = 0;
  together({{"submitter", [&, number = efd.get()] { taken = all.try_to_submit(number); }}, {"program", [&] {
                                                                                              efd.reset();
                                                                                              efd = make_eventfd(
                                                                                                  EFD_NONBLOCK);
                                                                                            }}});
  REQUIRE(taken == 1 || taken == -EBADF);
  if (taken == 1) all.complete_one();
  let_background_rest();
  REQUIRE(read_from(same) + read_from(efd) == (taken == 1 ? 1U : 0U));
}

SCENARIO(resfd_shared_found_as_it_ends, 3,
         "a lookup of an eventfd as its last reference is dropped returns an intact object, and its count arrives") {
  const auto efd = make_eventfd(EFD_NONBLOCK);
  std::error_code ec;
  auto last = aio::resfd_registry::process().find(efd.get(), ec);
  REQUIRE(last != nullptr);
  together({{"last user", [&] { last.reset(); }}, {"finder", [&] {
                                                     std::error_code refused;
                                                     const auto found =
                                                         aio::resfd_registry::process().find(efd.get(), refused);
                                                     REQUIRE(found != nullptr && found->is_named_by(efd.get()));
                                                     found->eventfd()->signal();
                                                   }}});
  REQUIRE(read_from(efd) == 1);
}
AND_WEAK(resfd_shared_found_as_it_ends, 2, 2);

SCENARIO(resfd_shared_by_two_finders, 2,
         "two threads that name an eventfd for the first time concurrently share one duplicate") {
  const auto efd = make_eventfd(EFD_NONBLOCK);
  std::array<aio::resfd_target_ptr, 2> found;
  const auto find = [&](std::size_t which) {
    return [&, which] {
      std::error_code refused;
      found[which] = aio::resfd_registry::process().find(efd.get(), refused);
    };
  };
  together({{"first", find(0)}, {"second", find(1)}});
  REQUIRE(found[0] != nullptr && found[0] == found[1]);
}

SCENARIO(resfd_full, 3, "a count that does not fit into a full eventfd is added once, when the program reads") {
  a_context all;
  const auto efd = make_eventfd();
  REQUIRE(write_to(efd, full));
  all.submit_both(efd);
  std::uint64_t got = 0;
  together({{"device",
             [&] {
               all.complete_one();
               all.complete_one();
             }},
            {"program", [&] {
               REQUIRE(read_from(efd) == full);
               while (got < 2) got += read_from(efd);
             }}});
  let_background_rest();
  REQUIRE(got == 2 && !is_readable(efd));
}

SCENARIO(resfd_full_for_a_getter, 3,
         "if a getter finds no room for its count, the reaper adds it when the program reads") {
  a_context all;
  const auto efd = make_eventfd();
  REQUIRE(write_to(efd, full));
  all.submit(efd);
  all.complete_one();
  together({{"getter", [&] { REQUIRE(all.get(1) == 1); }}, {"program", [&] {
                                                              REQUIRE(read_from(efd) == full);
                                                              REQUIRE(read_from(efd) == 1);
                                                            }}});
  let_background_rest();
  REQUIRE(!is_readable(efd));
}

SCENARIO(resfd_full_again, 3,
         "if an eventfd is full again just as the reaper adds the rest, later counts are added, too") {
  a_context all;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  all.submit_both(efd);
  REQUIRE(write_to(efd, full));
  all.complete_one();
  let_background_rest();
  all.disk().complete_one();
  bool refilled = false;
  together({{"program",
             [&] {
               REQUIRE(read_from(efd) == full);
               refilled = write_to(efd, full - 1);
             }},
            {"getter", [&] { REQUIRE(all.get(0) >= 1); }}});
  let_background_rest();
  std::uint64_t got = 0;
  while (is_readable(efd)) {
    got += read_from(efd);
    let_background_rest();
  }
  REQUIRE(got == (refilled ? full - 1 : 0) + 2);  // in the arithmetic of 64 bits
}

SCENARIO(ring_filled_until_asked, 2,
         "a getter that calls as the reaper begins to fill the ring gets the event; then the reaper is not needed any "
         "more") {
  a_context all;
  int got = 0;
  together({{"submitter", [&] { all.submit_without_eventfd(); }},
            {"getter", [&] { got = all.get(1); }},
            {"device", [&] { all.complete_one(); }}});
  REQUIRE(got == 1 && all.get(0) == 0);
  let_background_rest();
  all.submit_without_eventfd();
  all.complete_one();
  let_background_rest();
  REQUIRE(all.in_ring() == 0);
  REQUIRE(all.get(1) == 1);
}
AND_WEAK(ring_filled_until_asked, 1, 2);

SCENARIO(ring_filled_without_a_call, 3, "a program that only reads the ring, without calls, finds its event there") {
  a_context all;
  together({{"program", [&] { all.submit_without_eventfd(); }}, {"device", [&] { all.complete_one(); }}});
  let_background_rest();
  REQUIRE(all.in_ring() == 1);
}

SCENARIO(ring_filled_until_destroyed, 3,
         "a ring that the reaper fills as its context is destroyed is not accessed afterwards") {
  a_context all;
  all.submit_without_eventfd();
  together({{"device", [&] { all.disk().complete_one_if_any(); }}, {"destroyer", [&] { all.destroy(); }}});
  let_background_rest();
}

SCENARIO(ring_filled_no_longer, 3,
         "a context whose program has called io_getevents is not watched by the reaper when it is destroyed") {
  a_context all;
  all.submit_without_eventfd();
  REQUIRE(all.get(0) == 0);
  let_background_rest();
  together({{"device", [&] { all.disk().complete_one_if_any(); }}, {"destroyer", [&] { all.destroy(); }}});
}

SCENARIO(ring_filled_again, 2,
         "io_getevents or the reaper's next rounds complete a request; then the reaper fills the ring until a call") {
  a_context all;
  all.submit_without_eventfd();
  REQUIRE(all.get(0) == 0);
  pass_a_round();
  int got = 0;
  together({{"time", [&] { let_time_pass(); }}, {"getter", [&] { got = all.get(0); }}, {"device", [&] {
                                                                                          all.complete_one();
                                                                                        }}});
  let_background_rest();
  for (int round = 0; round < 3; ++round) pass_a_round();  // the reaper may check more often at first
  REQUIRE(got + static_cast<int>(all.in_ring()) == 1);
  if (got == 0) REQUIRE(all.get(0) == 1);
  all.submit_without_eventfd();
  for (int round = 0; round < 3; ++round) pass_a_round();
  all.complete_one();
  pass_a_round();
  REQUIRE(all.in_ring() == 1);
  all.submit_without_eventfd();
  all.complete_one();
  let_background_rest();
  REQUIRE(all.in_ring() == 2);
  REQUIRE(all.get(0) == 2);
  all.submit_without_eventfd();
  all.complete_one();
  let_background_rest();
  REQUIRE(all.in_ring() == 0);
}

SCENARIO(ring_visited_until_destroyed, 3,
         "a context that is destroyed as the reaper visits it is not accessed afterwards") {
  a_context all;
  all.submit_without_eventfd();
  REQUIRE(all.get(0) == 0);
  pass_a_round();
  together({{"time", [&] { let_time_pass(); }},
            {"device", [&] { all.disk().complete_one_if_any(); }},
            {"destroyer", [&] { all.destroy(); }}});
  let_background_rest();
}
AND_WEAK(ring_visited_until_destroyed, 1, 2);

SCENARIO(ring_visited_until_there_is_an_eventfd, 2,
         "an eventfd is signalled even if the reaper visits the context while a submit makes the reaper watch it") {
  a_context all;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  all.submit_without_eventfd();
  REQUIRE(all.get(0) == 0);
  pass_a_round();
  together({{"time", [&] { let_time_pass(); }}, {"submitter", [&] { all.submit(efd, 1); }}});
  all.complete_one();
  all.complete_one();
  let_background_rest();
  REQUIRE(all.in_ring() == 2);
  REQUIRE(read_from(efd) == 1);
}

SCENARIO(ring_filled_until_there_is_an_eventfd, 3,
         "if a getter makes the reaper stop watching while a request with an eventfd is submitted, the request still "
         "signals its eventfd") {
  a_context all;
  const auto efd = make_eventfd(EFD_NONBLOCK);
  all.submit_without_eventfd();
  int got = 0;
  together({{"submitter", [&] { all.submit(efd, 1); }}, {"getter", [&] { got = all.get(0); }}});
  all.complete_one();
  all.complete_one();
  let_background_rest();
  REQUIRE(got == 0 && all.in_ring() == 2);
  REQUIRE(read_from(efd) == 1);
}

}  // namespace doorbell::model
