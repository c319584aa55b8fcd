// SPDX-License-Identifier: Apache-2.0
#include "aio_play.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <utility>

#include "require.hpp"

namespace doorbell::fuzz {
namespace {

using aio::engine_kind;
using aio::io_event;

constexpr std::size_t most_operations = 64;
constexpr std::size_t inputs_between_counts = 256;
// What a sanitizer or the fuzzer may open meanwhile.
constexpr std::size_t others_descriptors = 16;
constexpr timespec patience{.tv_sec = 10, .tv_nsec = 0};

template <class T>
T* address(std::uint64_t at) noexcept {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(at));
}

/// What no call may take for an address: it answers EFAULT, or does not look.
template <class T>
T* no_address(input& bytes) noexcept {
  return address<T>(bytes.one_of(std::array<std::uint64_t, 4>{0, kernels_half, 8, UINT64_MAX}));
}

void require_errno(int answer) { require(answer < 0 && answer > -4096, "what is refused says why", answer); }

}  // namespace

aio_play::aio_play() {
  ::signal(SIGPIPE, SIG_IGN);
  // Few enough to run into, and no ring takes long to map.
  ::setenv("DOORBELL_AIO_MAX_NR", "1000", 1);
  bells_.renew();
  warm_up();
  descriptors_ = open_descriptors();
}

// The order is what inputs are made of: new operations come at the end.
void aio_play::step(input& bytes) {
  static constexpr std::array<operation, 18> operations{
      &aio_play::setup,        &aio_play::submit,       &aio_play::get,           &aio_play::cancel,
      &aio_play::destroy,      &aio_play::submit_again, &aio_play::change_stream, &aio_play::reap_by_hand,
      &aio_play::scribble,     &aio_play::begin_aside,  &aio_play::move_ring,     &aio_play::replace_ring,
      &aio_play::replace_bell, &aio_play::setup_badly,  &aio_play::submit_badly,  &aio_play::get_badly,
      &aio_play::cancel_badly, &aio_play::destroy_badly};
  (this->*bytes.one_of(operations))(bytes);
}

void aio_play::run(input bytes) {
  const bool collect = bytes.below(2) == 0;
  for (std::size_t left = most_operations; left > 0 && !bytes.at_end(); --left) {
    // What the helper began runs along with the operation after it.
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
  bells_.check();
  slots_.leave_alone();
  for (std::size_t stream = 0; stream < stream_count; ++stream) files_.fill(stream);
  files_.renew();
  bells_.renew();
  slots_.renew();
  if (++inputs_ % inputs_between_counts != 0) return;
  const auto open = open_descriptors();
  require(open <= descriptors_ + others_descriptors, "no descriptors pile up", static_cast<long long>(open));
}

std::size_t aio_play::open_descriptors() {
  const std::filesystem::directory_iterator open{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

// What doorbell opens once, on first need, is open from then on: the reaper's and the poller's descriptors.
void aio_play::warm_up() {
  for (const auto engine : {engine_kind::io_uring, engine_kind::threads}) {
    std::error_code refused;
    aio::context ctx{8, engine, refused};
    if (refused) continue;
    auto& waits = *slots_.next();
    waits.request = aio::prep_pread(files_.descriptor(file::pipe), waits.memory.data(), 1, 0);
    waits.request.flags = aio::iocb_abi::flag_resfd;
    waits.request.resfd = static_cast<std::uint32_t>(bells_.descriptor(0));
    auto* list = &waits.request;
    require(aio::io_submit(ctx.handle(), 1, &list) == 1, "a request is taken");
    bells_.expect(bells_.file(0));
  }
  end_input(false);
}

// Setting up and destroying.

void aio_play::setup(input& bytes) {
  auto& one = choose_context(bytes);
  const auto engine = bytes.one_of(std::array{engine_kind::io_uring, engine_kind::threads, engine_kind::automatic});
  const auto nr = 1 + static_cast<unsigned>(bytes.byte());
  if (one.handle != 0) {
    auto handle = one.handle;
    require(aio::io_setup(nr, &handle) == -EINVAL && handle == one.handle, "a handle that is there is not made again");
    return;
  }
  aio::aio_context_t handle = 0;
  std::optional<aio::context> by;
  std::error_code ec;
  if (engine == engine_kind::automatic) {
    ec.assign(-aio::io_setup(nr, &handle), std::system_category());
  } else {
    by.emplace(nr, engine, ec);
    handle = by->handle();
  }
  finish_aside();
  if (!ec) contexts_.made(one, handle, nr, std::move(by));
  contexts_.check_charge();
}

void aio_play::setup_badly(input& bytes) {
  aio::aio_context_t none = 0;
  const auto nr = bytes.one_of(std::array{0U, 0x80000000U, 0x80000001U, 0xffffffffU, 1001U, 0x8000000U});
  auto* const handle = bytes.below(2) == 0 ? &none : no_address<aio::aio_context_t>(bytes);
  require_errno(aio::io_setup(nr, handle));
  require(none == 0, "no handle comes from a setup that failed");
}

void aio_play::destroy(input& bytes) {
  auto& one = choose_context(bytes);
  if (one.handle == 0) return;
  const bool twice = contested(one);
  const int answer = aio::io_destroy(one.handle);
  const auto handle = one.handle;
  finish_aside();
  require(answer == 0 || answer == -EINVAL, "a destroy succeeds, or finds nothing", answer);
  require(twice ? (answer == 0) == (one.handle != 0) : answer == 0, "of those who destroy a context one succeeds");
  if (answer == 0) contexts_.destroyed(one, slots_.used());
  last_destroyed_ = handle;
  contexts_.check_charge();
}

void aio_play::see_to_its_end(fuzzed_context& one) {
  require(aio::io_destroy(one.handle) == 0, "a context can be destroyed");
  require(aio::io_destroy(one.handle) == -EINVAL, "once");
  contexts_.destroyed(one, slots_.used());
}

// What is cancelled has an event all the same; what cannot be cancelled ends by itself.
void aio_play::collect_events(fuzzed_context& one) {
  if (one.handle == 0 || !one.orderly) return;
  for (auto& each : slots_.used()) {
    for (auto times = each.owner == one.serial ? each.in_flight : 0; times > 0; --times) {
      const int answer = aio::io_cancel(one.handle, &each.request, nullptr);
      require(answer == -EINPROGRESS || answer == -EINVAL || answer == -EAGAIN, "cancelled, or gone already", answer);
    }
  }
  std::array<io_event, most_events> events;
  while (aio_contexts::in_flight(one, slots_.used()) > 0) {
    auto timeout = patience;
    const int got = aio::io_getevents(one.handle, 1, most_events, events.data(), &timeout);
    if (got == -EINTR) continue;
    require(got > 0, "each request has an event", got);
    for (int at = 0; at < got; ++at) aio_contexts::account_for(events.at(static_cast<std::size_t>(at)), one, slots_);
  }
  require(aio::io_getevents(one.handle, 0, most_events, events.data(), nullptr) == 0, "and no more than one");
}

aio::aio_context_t aio_play::no_handle(input& bytes) {
  fake_ring_.magic = ring_magic;
  const auto& some = choose_context(bytes);
  const std::array<aio::aio_context_t, 8> choices{0,
                                                  1,
                                                  0x1000,
                                                  kernels_half,
                                                  reinterpret_cast<std::uintptr_t>(&fake_ring_),
                                                  some.handle + 0x1000,
                                                  last_destroyed_,
                                                  bytes.number<aio::aio_context_t>()};
  const auto chosen = bytes.one_of(choices);
  const bool is_one = std::ranges::any_of(contexts_.all(), [&](const auto& each) { return each.handle == chosen; });
  return is_one ? 1 : chosen;
}

void aio_play::destroy_badly(input& bytes) {
  require(aio::io_destroy(no_handle(bytes)) == -EINVAL, "no context is destroyed by a handle that is none");
}

// Requests.

void aio_play::taken(slot& one, fuzzed_context& by, const std::optional<std::size_t>& bell) {
  one.owner = by.serial;
  ++one.in_flight;
  if (bell) bells_.expect(*bell);
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
    bell_of_.at(index) = decide_on(*next, bytes, files_, bells_, slots_.guard());
    made.at(count) = next;
    list.at(count++) = &next->request;
  }
  const int answer = aio::io_submit(one.handle, static_cast<long>(count), list.data());
  require(answer <= static_cast<int>(count), "no more are taken than were given", answer);
  for (int at = 0; at < answer; ++at) {
    auto& accepted = *made.at(static_cast<std::size_t>(at));
    taken(accepted, one, bell_of_.at(slots_.used().size() - count + static_cast<std::size_t>(at)));
  }
}

// The same iocb many times over, so that the ring fills up; not one that reads.
void aio_play::submit_again(input& bytes) {
  auto* const request = choose_slot(bytes);
  auto& one = choose_context(bytes);
  const auto times = 1 + bytes.below(200);
  if (request == nullptr || reads(request->request)) return;
  if (request->in_flight > 0 && request->owner != one.serial) return;
  finish_aside();
  // Another file may be open at its number by now, perhaps one of doorbell's own.
  request->request.fildes = files_.descriptor(request->on);
  std::array<aio::iocb_abi*, 200> list;
  list.fill(&request->request);
  auto bell = bell_of_.at(static_cast<std::size_t>(request - slots_.used().data()));
  // Its number may be another file's by now.
  for (std::size_t at = 0; bell && at < aio_bells::count; ++at)
    if (bells_.descriptor(at) == static_cast<int>(request->request.resfd)) bell = bells_.file(at);
  const int answer = aio::io_submit(one.handle, static_cast<long>(times), list.data());
  require(answer <= static_cast<int>(times), "no more are taken than were given", answer);
  for (int at = 0; at < answer; ++at) taken(*request, one, bell);
}

void aio_play::submit_badly(input& bytes) {
  auto& one = choose_context(bytes);
  auto* nowhere = no_address<aio::iocb_abi>(bytes);
  switch (bytes.below(5)) {
    case 0:
      require(aio::io_submit(one.handle, bytes.one_of(std::array{-1L, LONG_MIN}), &nowhere) == -EINVAL,
              "less than no request is refused");
      break;
    case 1:
      require_errno(
          aio::io_submit(one.handle, bytes.one_of(std::array{1L, 100L, LONG_MAX}), no_address<aio::iocb_abi*>(bytes)));
      break;
    case 2:
      require_errno(aio::io_submit(one.handle, 1, &nowhere));
      break;
    case 3:
      require(aio::io_submit(no_handle(bytes), 1, &nowhere) == -EINVAL, "no context takes a request");
      break;
    default:
      require(aio::io_submit(one.handle, 0, nullptr) <= 0, "none is taken where none is given");
  }
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
  const int answer = aio::io_cancel(one.handle, &request->request, nullptr);
  require(answer == -EINPROGRESS || answer == -EINVAL || answer == -EAGAIN, "cancelled, or not there", answer);
  if (answer == -EINPROGRESS && one.orderly && !contested(one))
    require(request->owner == one.serial, "only what is in flight there is cancelled");
}

void aio_play::cancel_badly(input& bytes) {
  auto& one = choose_context(bytes);
  aio::iocb_abi never_submitted;
  switch (bytes.below(4)) {
    case 0:
      require(aio::io_cancel(one.handle, no_address<aio::iocb_abi>(bytes), nullptr) == -EFAULT,
              "there is no such iocb");
      break;
    case 1:
      never_submitted.key = 1 + bytes.number<std::uint16_t>();
      [[fallthrough]];
    case 2:
      require(aio::io_cancel(one.handle, &never_submitted, nullptr) == -EINVAL, "it is not in flight");
      break;
    default:
      require(aio::io_cancel(no_handle(bytes), &never_submitted, no_address<io_event>(bytes)) == -EINVAL,
              "there is no such context");
  }
}

// Events.

// Those that end are at most a millisecond long, whichever way they say so.
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
      aio::io_pgetevents(one.handle, static_cast<long>(min), static_cast<long>(nr), events.data(), timeout, with_mask);
  require(got <= static_cast<int>(nr), "no more events come than there is room for", got);
  if (one.handle == 0) require(got == -EINVAL, "no context has events", got);
  for (int at = 0; at < got; ++at) aio_contexts::account_for(events.at(static_cast<std::size_t>(at)), one, slots_);
}

void aio_play::get_badly(input& bytes) {
  auto& one = choose_context(bytes);
  std::array<io_event, 4> events;
  timespec at_once{};
  switch (bytes.below(7)) {
    case 0:
      require(aio::io_getevents(one.handle, 3, 2, events.data(), &at_once) == -EINVAL, "min is not above nr");
      break;
    case 1:
      require(
          aio::io_getevents(one.handle, bytes.one_of(std::array{-1L, LONG_MIN}), 2, events.data(), &at_once) == -EINVAL,
          "min is not below 0");
      break;
    case 2:
      require(aio::io_getevents(no_handle(bytes), 1, 2, events.data(), nullptr) == -EINVAL, "there is no such context");
      break;
    case 3:
      require_errno(aio::io_getevents(one.handle, 1, 2, events.data(), address<timespec>(kernels_half)));
      break;
    case 4: {
      // Takes nothing, whether or not an event is there.
      const int answer = aio::io_getevents(one.handle, 0, bytes.one_of(std::array{1L, LONG_MAX}),
                                           no_address<io_event>(bytes), &at_once);
      require(answer <= 0, "no event goes where no memory is", answer);
      break;
    }
    case 5:
      require(aio::io_pgetevents(one.handle, 0, 1, events.data(), &at_once, address<aio::aio_sigset>(kernels_half)) ==
                  -EFAULT,
              "there is no such mask");
      break;
    default: {
      sigset_t mask;
      ::sigemptyset(&mask);
      const aio::aio_sigset blocked{.sigmask = bytes.below(2) == 0 ? &mask : address<sigset_t>(kernels_half),
                                    .sigsetsize = bytes.number<std::uint16_t>()};
      if (blocked.sigmask == &mask && blocked.sigsetsize == 8) return;
      require_errno(aio::io_pgetevents(one.handle, 0, 1, events.data(), &at_once, &blocked));
    }
  }
}

// What goes on around them.

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

void aio_play::replace_bell(input& bytes) { bells_.replace(bytes.below(aio_bells::count)); }

// The ring.

// As fio does it: the events, then head.
void aio_play::reap_by_hand(input& bytes) {
  auto& one = choose_context(bytes);
  auto wanted = bytes.byte();
  finish_aside();
  if (one.handle == 0 || !one.orderly) return;
  auto& header = aio_contexts::ring(one);
  const auto* const events = address<const io_event>(one.handle + sizeof header);
  const auto tail = std::atomic_ref{header.tail}.load(std::memory_order_acquire);
  auto head = header.head;
  require(head < header.nr && tail < header.nr, "head and tail are in the ring");
  for (; head != tail && wanted > 0; --wanted) {
    aio_contexts::account_for(events[head], one, slots_);
    head = (head + 1) % header.nr;
  }
  std::atomic_ref{header.head}.store(head, std::memory_order_release);
}

void aio_play::scribble(input& bytes) {
  auto& one = choose_context(bytes);
  const auto place = bytes.number<std::uint16_t>();
  const auto size = 1 + bytes.below(32);
  std::array<std::uint8_t, 32> what{};
  for (auto& each : std::span{what}.first(size)) each = bytes.byte();
  finish_aside();
  if (one.handle == 0 || !one.ring_is_there) return;
  one.orderly = false;
  // The header is what is worth the most.
  const auto at = place % 4 != 0 ? place % sizeof(ring_header) : place % (one.bytes - size);
  std::memcpy(address<std::uint8_t>(one.handle) + at, what.data(), size);
}

void aio_play::move_ring(input& bytes) {
  auto& one = choose_context(bytes);
  finish_aside();
  if (one.handle == 0 || !one.orderly) return;
  auto* const from = address<void>(one.handle);
  void* const to = ::mmap(nullptr, one.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(to != MAP_FAILED, "there is address space");
  if (::mremap(from, one.bytes, one.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
    require(false, "a ring can be moved", errno);
  one.handle = reinterpret_cast<std::uintptr_t>(to);
  require(aio::io_getevents(one.handle, 0, 0, nullptr, nullptr) == 0,
          "a context is found where its ring has been moved to");
  require(aio::io_getevents(reinterpret_cast<std::uintptr_t>(from), 0, 0, nullptr, nullptr) == -EINVAL,
          "and only there");
}

// Something of the program's, where the ring has been: nothing, a copy of its header, or what cannot be read.
void aio_play::replace_ring(input& bytes) {
  auto& one = choose_context(bytes);
  const auto what = bytes.below(3);
  finish_aside();
  if (one.handle == 0 || !one.ring_is_there) return;
  one.orderly = false;
  const auto header = aio_contexts::ring(one);
  const int access = what == 2 ? PROT_NONE : PROT_READ | PROT_WRITE;
  if (::mmap(address<void>(one.handle), one.bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED)
    require(false, "a ring can be replaced", errno);
  one.ring_is_there = false;
  if (what == 1) aio_contexts::ring(one) = header;
}

// Two calls at once.

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
      aside_.answer = aio::io_destroy(handle);
    else if (what == kind::get)
      aside_.answer = aio::io_getevents(handle, min, most_events, aside_.events.data(), &a_moment);
    else
      aside_.answer = aio::io_cancel(handle, &request->request, nullptr);
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
