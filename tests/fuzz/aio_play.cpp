// SPDX-License-Identifier: Apache-2.0
#include "aio_play.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <utility>

#include "../../aio/engine/engine_names.hpp"
#include "calls.hpp"
#include "require.hpp"

namespace doorbell::fuzz {
namespace {

using aio::engine_kind;
using aio::io_event;

constexpr std::size_t most_operations = 64;
constexpr std::size_t inputs_between_counts = 256;
// The number of descriptors that a sanitizer or the fuzzer may open meanwhile.
constexpr std::size_t others_descriptors = 16;
constexpr timespec patience{.tv_sec = 10, .tv_nsec = 0};

}  // namespace

aio_play::aio_play() {
  ::signal(SIGPIPE, SIG_IGN);
  // Small enough that inputs reach the limit, and that rings are mapped fast.
  ::setenv("DOORBELL_AIO_MAX_NR", "1000", 1);
  efds_.renew();
  warm_up();
  descriptors_ = open_descriptors();
}

// The bytes of the corpus index this list: add new operations at the end.
void aio_play::step(input& bytes) {
  static constexpr std::array<operation, 18> operations{
      &aio_play::setup,           &aio_play::submit,       &aio_play::get,           &aio_play::cancel,
      &aio_play::destroy,         &aio_play::submit_again, &aio_play::change_stream, &aio_play::take_events_from_ring,
      &aio_play::scribble,        &aio_play::begin_aside,  &aio_play::move_ring,     &aio_play::replace_ring,
      &aio_play::replace_eventfd, &aio_play::setup_badly,  &aio_play::submit_badly,  &aio_play::get_badly,
      &aio_play::cancel_badly,    &aio_play::destroy_badly};
  (this->*bytes.one_of(operations))(bytes);
}

void aio_play::run(input bytes) {
  const bool collect = bytes.below(2) == 0;
  for (std::size_t left = most_operations; left > 0 && !bytes.at_end(); --left) {
    // A call that the helper began runs concurrently with the operation after it.
    const bool together = aside_.what != call_aside::kind::none;
    step(bytes);
    if (together) finish_aside();
  }
  end_input(collect);
}

void aio_play::end_input(bool collect) {
  finish_aside();
  for (auto& each : contexts_.all()) {
    if (collect) collect_events(each);
    if (each.handle != 0) see_to_its_end(each);
  }
  contexts_.check_charge();
  efds_.check();
  slots_.leave_alone();
  for (std::size_t stream = 0; stream < stream_count; ++stream) files_.fill(stream);
  files_.renew();
  efds_.renew();
  slots_.renew();
  if (++inputs_ % inputs_between_counts != 0) return;
  const auto open = open_descriptors();
  require(open <= descriptors_ + others_descriptors, "no descriptors leak", static_cast<long long>(open));
}

std::size_t aio_play::open_descriptors() {
  const std::filesystem::directory_iterator open{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

// Opens the descriptors that doorbell keeps open after their first use: those of the reaper and the poller.
void aio_play::warm_up() {
  for (int number = 1; number <= aio::engine_count; ++number) {
    std::error_code refused;
    aio::context ctx{8, static_cast<engine_kind>(number), refused};
    if (refused) continue;
    auto& waits = *slots_.next();
    waits.request = aio::prep_pread(files_.descriptor(file::pipe), waits.memory.data(), 1, 0);
    waits.request.flags = aio::iocb_abi::flag_resfd;
    waits.request.resfd = static_cast<std::uint32_t>(efds_.descriptor(0));
    auto* list = &waits.request;
    require(calls::submit(ctx.handle(), 1, &list) == 1, "a request is accepted");
    efds_.expect(efds_.file(0));
  }
  end_input(false);
}

// Setting up and destroying.

void aio_play::setup(input& bytes) {
  auto& one = choose_context(bytes);
  constexpr auto kinds = static_cast<std::size_t>(aio::engine_count) + 1;  // with `automatic`, which is 0
  const auto engine = static_cast<engine_kind>((bytes.below(kinds) + 1) % kinds);
  const auto nr = 1 + static_cast<unsigned>(bytes.byte());
  if (one.handle != 0) {
    auto handle = one.handle;
    require(calls::setup(nr, &handle) == -EINVAL && handle == one.handle, "io_setup refuses a handle that is not 0");
    return;
  }
  aio::aio_context_t handle = 0;
  std::optional<aio::context> by;
  std::error_code ec;
  if (engine == engine_kind::automatic) {
    ec.assign(-calls::setup(nr, &handle), std::system_category());
  } else {
    by.emplace(nr, engine, ec);
    handle = by->handle();
  }
  finish_aside();
  if (!ec) contexts_.made(one, handle, nr, std::move(by));
  contexts_.check_charge();
}

void aio_play::destroy(input& bytes) {
  auto& one = choose_context(bytes);
  if (one.handle == 0) return;
  const bool twice = contested(one);
  const int answer = calls::destroy(one.handle);
  const auto handle = one.handle;
  finish_aside();
  require(answer == 0 || answer == -EINVAL, "a destroy succeeds, or finds no context", answer);
  require(twice ? (answer == 0) == (one.handle != 0) : answer == 0, "exactly one destroy of a context succeeds");
  if (answer == 0) contexts_.destroyed(one, slots_.used());
  last_destroyed_ = handle;
  contexts_.check_charge();
}

void aio_play::see_to_its_end(fuzzed_context& one) {
  require(calls::destroy(one.handle) == 0, "a context can be destroyed");
  require(calls::destroy(one.handle) == -EINVAL, "a context can be destroyed only once");
  contexts_.destroyed(one, slots_.used());
}

// A cancelled request also has an event. A request that cannot be cancelled completes by itself.
void aio_play::collect_events(fuzzed_context& one) {
  if (one.handle == 0 || !one.orderly) return;
  for (auto& each : slots_.used()) {
    for (auto times = each.owner == one.serial ? each.in_flight : 0; times > 0; --times) {
      const int answer = calls::cancel(one.handle, &each.request, nullptr);
      require(answer == -EINPROGRESS || answer == -EINVAL || answer == -EAGAIN,
              "a cancel succeeds, or the request has completed", answer);
    }
  }
  std::array<io_event, most_events> events;
  while (aio_contexts::in_flight(one, slots_.used()) > 0) {
    auto timeout = patience;
    const int got = calls::getevents(one.handle, 1, most_events, events.data(), &timeout);
    if (got == -EINTR) continue;
    require(got > 0, "each request has an event", got);
    for (int at = 0; at < got; ++at) aio_contexts::account_for(events.at(static_cast<std::size_t>(at)), one, slots_);
  }
  require(calls::getevents(one.handle, 0, most_events, events.data(), nullptr) == 0, "no request has a second event");
}

// Requests.

void aio_play::taken(slot& one, fuzzed_context& by, const std::optional<std::size_t>& efd) {
  one.owner = by.serial;
  ++one.in_flight;
  if (efd) efds_.expect(*efd);
}

void aio_play::submit(input& bytes) {
  auto& one = choose_context(bytes);
  std::array<slot*, 4> made{};
  std::array<aio::iocb_abi*, 4> list{};
  std::size_t count = 0;
  for (auto left = 1 + bytes.below(made.size()); left > 0; --left) {
    auto* const next = slots_.next();
    if (next == nullptr) break;
    const auto index = slots_.used().size() - 1;
    eventfd_of_.at(index) = decide_on(*next, bytes, files_, efds_, slots_.guard());
    made.at(count) = next;
    list.at(count++) = &next->request;
  }
  const int answer = calls::submit(one.handle, static_cast<long>(count), list.data());
  require(answer <= static_cast<int>(count), "submit accepts at most the requests given", answer);
  for (int at = 0; at < answer; ++at) {
    auto& accepted = *made.at(static_cast<std::size_t>(at));
    taken(accepted, one, eventfd_of_.at(slots_.used().size() - count + static_cast<std::size_t>(at)));
  }
}

// Submits the same iocb many times, so that the ring fills up; not a read, because the reads would share a buffer.
void aio_play::submit_again(input& bytes) {
  auto* const request = choose_slot(bytes);
  auto& one = choose_context(bytes);
  const auto times = 1 + bytes.below(200);
  if (request == nullptr || reads(request->request)) return;
  if (request->in_flight > 0 && request->owner != one.serial) return;
  finish_aside();
  // The number may refer to another file by now, perhaps to one of doorbell's own.
  request->request.fildes = files_.descriptor(request->on);
  std::array<aio::iocb_abi*, 200> list;
  list.fill(&request->request);
  auto efd = eventfd_of_.at(static_cast<std::size_t>(request - slots_.used().data()));
  // The eventfd's number may refer to another file by now.
  for (std::size_t at = 0; efd && at < aio_eventfds::count; ++at)
    if (efds_.descriptor(at) == static_cast<int>(request->request.resfd)) efd = efds_.file(at);
  const int answer = calls::submit(one.handle, static_cast<long>(times), list.data());
  require(answer <= static_cast<int>(times), "submit accepts at most the requests given", answer);
  for (int at = 0; at < answer; ++at) taken(*request, one, efd);
}

slot* aio_play::choose_slot(input& bytes) {
  const auto all = slots_.used();
  const auto which = bytes.byte();
  return all.empty() ? nullptr : &all[which % all.size()];
}

void aio_play::cancel(input& bytes) {
  auto& one = choose_context(bytes);
  auto* const request = choose_slot(bytes);
  if (request == nullptr) return;
  const int answer = calls::cancel(one.handle, &request->request, nullptr);
  require(answer == -EINPROGRESS || answer == -EINVAL || answer == -EAGAIN,
          "a cancel succeeds, or the request is not in flight", answer);
  if (answer == -EINPROGRESS && one.orderly && !contested(one))
    require(request->owner == one.serial, "only a request that is in flight in the context is cancelled");
}

// Events.

// Chooses a timeout of at most a millisecond, or an endless one, in all valid and invalid forms.
timespec* aio_play::choose_timeout(input& bytes, timespec& room, bool may_be_endless) const {
  static constexpr std::array limited{timespec{.tv_sec = 0, .tv_nsec = 0}, timespec{.tv_sec = 0, .tv_nsec = 1000},
                                      timespec{.tv_sec = 0, .tv_nsec = 1000000},
                                      timespec{.tv_sec = 1, .tv_nsec = -999999000}};
  static constexpr std::array endless{timespec{.tv_sec = -1, .tv_nsec = 0}, timespec{.tv_sec = 0, .tv_nsec = LONG_MIN},
                                      timespec{.tv_sec = LONG_MAX, .tv_nsec = LONG_MAX},
                                      timespec{.tv_sec = LONG_MIN, .tv_nsec = 1}};
  const auto choice = bytes.below(limited.size() + endless.size() + 1);
  if (choice < limited.size() || !may_be_endless)
    room = limited.at(choice % limited.size());
  else if (choice < limited.size() + endless.size())
    room = endless.at(choice - limited.size());
  else
    return nullptr;
  return &room;
}

void aio_play::get(input& bytes) {
  auto& one = choose_context(bytes);
  const auto nr = bytes.below(most_events + 1);
  const auto min = std::min(nr, bytes.below(8));
  const bool sure =
      one.handle != 0 && aside_.what == call_aside::kind::none && aio_contexts::sure_events(one, slots_.used()) >= min;
  timespec room{};
  auto* const timeout = choose_timeout(bytes, room, sure);
  std::array<io_event, most_events> events;
  sigset_t mask;
  ::sigemptyset(&mask);
  const aio::aio_sigset blocked{.sigmask = &mask, .sigsetsize = 8};
  const auto* const with_mask = bytes.below(4) == 1 ? &blocked : nullptr;
  const int got =
      calls::pgetevents(one.handle, static_cast<long>(min), static_cast<long>(nr), events.data(), timeout, with_mask);
  require(got <= static_cast<int>(nr), "getevents returns at most nr events", got);
  if (one.handle == 0) require(got == -EINVAL, "a handle of 0 is invalid", got);
  for (int at = 0; at < got; ++at) aio_contexts::account_for(events.at(static_cast<std::size_t>(at)), one, slots_);
}

// Changes of the files.

void aio_play::change_stream(input& bytes) {
  const auto stream = bytes.below(stream_count);
  switch (bytes.below(6)) {
    case 0:
    case 1:
      return files_.fill(stream);
    case 2:
    case 3:
      return files_.empty(stream);
    case 4:
      return files_.hang_up(stream);
    default:
      return files_.close(stream);
  }
}

void aio_play::replace_eventfd(input& bytes) { efds_.replace(bytes.below(aio_eventfds::count)); }

// Two concurrent calls.

void aio_play::begin_aside(input& bytes) {
  using kind = call_aside::kind;
  auto& one = choose_context(bytes);
  const auto what = bytes.one_of(std::array{kind::get, kind::cancel, kind::destroy});
  auto* const request = choose_slot(bytes);
  const auto min = static_cast<long>(bytes.below(3));
  finish_aside();
  const auto handle = one.handle;
  if (handle == 0 || (what == kind::cancel && request == nullptr)) return;
  aside_.what = what;
  aside_.on = &one;
  helper_.start([this, what, handle, request, min] {
    timespec a_moment{.tv_sec = 0, .tv_nsec = 200000};
    if (what == kind::destroy)
      aside_.answer = calls::destroy(handle);
    else if (what == kind::get)
      aside_.answer = calls::getevents(handle, min, most_events, aside_.events.data(), &a_moment);
    else
      aside_.answer = calls::cancel(handle, &request->request, nullptr);
  });
}

bool aio_play::contested(const fuzzed_context& one) const {
  return aside_.what == call_aside::kind::destroy && aside_.on == &one;
}

void aio_play::finish_aside() {
  if (aside_.what == call_aside::kind::none) return;
  helper_.finish();
  auto& on = *aside_.on;
  if (aside_.what == call_aside::kind::get)
    for (int at = 0; at < aside_.answer; ++at)
      aio_contexts::account_for(aside_.events.at(static_cast<std::size_t>(at)), on, slots_);
  if (aside_.what == call_aside::kind::destroy && aside_.answer == 0) {
    last_destroyed_ = on.handle;
    contexts_.destroyed(on, slots_.used());
  }
  aside_.what = call_aside::kind::none;
}

}  // namespace doorbell::fuzz
