// SPDX-License-Identifier: Apache-2.0
#include "eventfd_play.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <stop_token>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "require.hpp"

namespace doorbell::fuzz {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_calls = 96;
constexpr std::uint64_t huge = std::uint64_t{1} << 62;
constexpr std::array<std::uint64_t, 12> amounts{
    1, 1, 1, 2, 3, 1000, 0, 1, huge, eventfd::max, UINT64_MAX, eventfd::max - 1};

/// A notifier that exists until its eventfd is closed, and then destroys itself.
struct planted {
  explicit planted(std::atomic<int>& count) : alive{count} { ++alive; }
  ~planted() { --alive; }
  planted(const planted&) = delete;
  planted& operator=(const planted&) = delete;

  std::atomic<int>& alive;
  notifier watch{[](eventfd_ctx&) {}, [this] { delete this; }};
};

void close_if_open(eventfd& handle) noexcept {
  std::error_code closed_already;
  handle.close(closed_already);
}

bool readable(int fd) noexcept {
  pollfd asked{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&asked, 1, 0) == 1;
}

}  // namespace

void eventfd_play::run(input bytes) {
  threads_ = 2 + bytes.below(most_threads - 1);
  decide_on_eventfds(bytes);
  decide_on_notifiers(bytes);
  decide_on_calls(bytes);
  rest_room_.renew(threads_);
  arrived_ = 0;
  for (std::size_t thread = 1; thread < threads_; ++thread)
    helpers_.at(thread - 1)->start([this, thread] { play(thread); });
  play(0);
  for (auto* each : helpers_) each->finish();
  end_input();
}

// Decisions, by one thread.

void eventfd_play::decide_on_eventfds(input& bytes) {
  const bool closes_first = bytes.below(2) == 1;
  for (auto& each : programs_) {
    each.calls.clear();
    each.copies.clear();
  }
  for (std::size_t efd = 0; efd < eventfd_count; ++efd) {
    efds_.at(efd).renew(bytes.one_of(std::array<int, 4>{0, EFD_SEMAPHORE, EFD_NONBLOCK, EFD_NONBLOCK | EFD_SEMAPHORE}));
    for (auto& each : std::span{programs_}.first(threads_)) each.handles.at(efd) = efds_.at(efd).first;
  }
  // If the first handles are closed, a thread closes the last handle.
  first_stay_open_ = !closes_first;
}

void eventfd_play::decide_on_notifiers(input& bytes) {
  for (std::size_t at = 0; at < notifiers_.size(); ++at) {
    const fuzzed_notifier::plan plan{
        .what = static_cast<fuzzed_notifier::action>(bytes.below(fuzzed_notifier::actions)),
        .on = &efds_.at(bytes.below(eventfd_count)),
        .other = &notifiers_.at(bytes.below(notifiers_.size())),
        .release_signals = bytes.below(2) == 1};
    notifiers_.at(at).renew(plan, efds_);
    notifiers_.at(at).set_owned(at < most_threads);
  }
  if (first_stay_open_) return;
  for (auto& efd : efds_) efd.first.close();
}

// The bytes of the corpus index this list: add new calls at the end.
void eventfd_play::decide_on_calls(input& bytes) {
  static constexpr std::array<operation, 16> calls{&eventfd_play::signal,
                                                   &eventfd_play::read,
                                                   &eventfd_play::register_own,
                                                   &eventfd_play::unregister_own,
                                                   &eventfd_play::write,
                                                   &eventfd_play::register_shared,
                                                   &eventfd_play::unregister_shared,
                                                   &eventfd_play::sleep_in_read,
                                                   &eventfd_play::copy,
                                                   &eventfd_play::close,
                                                   &eventfd_play::drain,
                                                   &eventfd_play::ask_for_descriptor,
                                                   &eventfd_play::forward,
                                                   &eventfd_play::plant,
                                                   &eventfd_play::look,
                                                   &eventfd_play::sleep_in_write};
  for (std::size_t left = most_calls; left > 0 && !bytes.at_end(); --left) {
    call one{};
    one.what = bytes.one_of(calls);
    auto& by = programs_.at(bytes.below(threads_));
    const auto where = bytes.byte();
    one.efd = where % eventfd_count;
    one.which = where / eventfd_count;
    one.n = bytes.one_of(amounts);
    if (one.n >= huge) efds_.at(one.efd).saturates = true;
    by.calls.push_back(one);
  }
}

// The calls, by all threads concurrently.

void eventfd_play::play(std::size_t thread) {
  auto& mine = programs_.at(thread);
  // Spins, so that all threads continue at nearly the same time. Woken threads would not.
  arrived_.fetch_add(1);
  while (arrived_.load() < threads_) std::this_thread::yield();
  for (const auto& one : mine.calls) (this->*one.what)(mine, one);
  rest_room_.end();
}

void eventfd_play::signal(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  if (!efd.is_open()) return;
  efds_.at(one.efd).added += one.n;
  efd.signal(one.n);
}

void eventfd_play::write(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  std::error_code ec;
  if (!efds_.at(one.efd).may_block)
    efd.write(one.n, ec);
  else
    efd.write_for(one.n, 20us, ec);
  if (!ec) efds_.at(one.efd).added += one.n;
  if (efd.is_open() && one.n > eventfd::max)
    require(ec == std::errc::invalid_argument, "a count above the maximum cannot be written");
}

void eventfd_play::read(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  std::error_code ec;
  const auto taken = efds_.at(one.efd).may_block ? efd.read_for(20us, ec) : efd.read(ec);
  require((taken > 0) == !ec, "a read takes a count or returns an error", ec.value());
  took(one.efd, taken);
}

void eventfd_play::sleep_in_read(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  if (!efds_.at(one.efd).may_block || !efd.is_open()) return;
  const rest_room::sleep mine{.efd = efd.unreferenced_context(), .room = 0};
  rest_room_.enter(mine);
  std::error_code ec;
  took(one.efd, efd.read(rest_room_.token(), ec));
  rest_room_.leave(mine);
}

void eventfd_play::sleep_in_write(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  if (!efds_.at(one.efd).may_block || !efd.is_open() || one.n == 0 || one.n > eventfd::max) return;
  const rest_room::sleep mine{.efd = efd.unreferenced_context(), .room = one.n};
  rest_room_.enter(mine);
  std::error_code ec;
  // Added before another thread can take it.
  efds_.at(one.efd).added += one.n;
  efd.write(one.n, rest_room_.token(), ec);
  if (ec) efds_.at(one.efd).added -= one.n;
  rest_room_.leave(mine);
}

void eventfd_play::drain(program& by, const call& one) {
  if (one.which % 2 == 1) return efds_.at(one.efd).take_from_there();
  if (const auto ctx = by.handles.at(one.efd).context()) took(one.efd, ctx->drain());
}

void eventfd_play::copy(program& by, const call& one) { by.copies.push_back(by.handles.at(one.efd)); }

// Closes the handle. If it is closed, opens it again from a copy.
void eventfd_play::close(program& by, const call& one) {
  auto& efd = by.handles.at(one.efd);
  if (efd.is_open()) return efd.close();
  const auto of_this_one = [&](const auto& each) { return each.unreferenced_context() == efds_.at(one.efd).ctx.get(); };
  const auto found = std::ranges::find_if(by.copies, of_this_one);
  if (found == by.copies.end()) return;
  efd = std::move(*found);
  by.copies.erase(found);
}

void eventfd_play::register_own(program& by, const call& one) {
  own(by).register_with(by.handles.at(one.efd), efds_.at(one.efd),
                        one.which % 2 == 0 ? notifier::sharing::every : notifier::sharing::exclusive);
}

void eventfd_play::unregister_own(program& by, const call& one) {
  if (one.which % 2 == 0)
    own(by).unregister();
  else
    own(by).unregister_and_read();
}

void eventfd_play::register_shared(program& by, const call& one) {
  shared(one).register_with(by.handles.at(one.efd), efds_.at(one.efd),
                            one.which % 4 < 2 ? notifier::sharing::every : notifier::sharing::exclusive);
}

void eventfd_play::unregister_shared(program& /*by*/, const call& one) { shared(one).unregister(); }

void eventfd_play::ask_for_descriptor(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  std::error_code ec;
  const int fd = efd.poll_fd(ec);
  require(efd.is_open() ? fd > 2 : fd == -1, "an open eventfd has a descriptor", ec.value());
  if (fd >= 0) readable(fd);
}

void eventfd_play::forward(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  std::error_code ec;
  switch (one.which % 4) {
    case 0:
    case 1:
      efd.forward_to(efds_.at(one.efd).there.get(), ec);
      require(!ec || ec == std::errc::device_or_resource_busy || ec == std::errc::bad_file_descriptor,
              "an eventfd can be forwarded, unless it already is", ec.value());
      break;
    case 2:
      efd.forward_to(-1, ec);
      require(ec == std::errc::bad_file_descriptor, "forwarding to an invalid descriptor is refused", ec.value());
      break;
    default:
      efd.stop_forwarding(ec);
  }
}

void eventfd_play::look(program& by, const call& one) {
  const auto& efd = by.handles.at(one.efd);
  std::array<std::byte, 16> bytes{};
  std::error_code ec;
  require(efd.read(std::span{bytes}.first(one.which % 8), ec) == 0 && ec, "a short read is refused");
  require(efd.write(std::span{bytes}.first(one.which % 8), ec) == 0 && ec, "a short write is refused");
  require(efd.is_open() ? (efd.poll() & POLLNVAL) == 0 : efd.poll() == POLLNVAL,
          "a closed eventfd polls POLLNVAL, an open one does not");
  const auto info = efd.info(ec);
  require(efd.is_open() == !ec && (ec || info.id > 0), "an open eventfd has an identity, a closed one has none");
}

void eventfd_play::plant(program& by, const call& one) {
  auto seed = std::make_unique<planted>(planted_);
  std::error_code ec;
  seed->watch.register_with(by.handles.at(one.efd), ec);
  // From now on it owns itself, and may already be destroyed.
  if (!ec) std::ignore = seed.release();
}

// The checks, by one thread again.

void eventfd_play::end_input() {
  for (auto& efd : efds_) {
    if (!efd.first.is_open()) continue;
    const int fd = efd.first.poll_fd();
    require(readable(fd) == (efd.ctx->count() > 0), "a descriptor is readable exactly if there is a count");
  }
  for (auto& one : programs_) {
    one.copies.clear();
    for (auto& each : one.handles) close_if_open(each);
  }
  for (auto& each : notifiers_) each.close_handle();
  for (auto& efd : efds_) close_if_open(efd.first);
  for (auto& each : notifiers_) each.check();
  require(planted_ == 0, "the last close releases each remaining notifier", planted_);
  for (auto& efd : efds_) efd.check_sum();
}

}  // namespace doorbell::fuzz
