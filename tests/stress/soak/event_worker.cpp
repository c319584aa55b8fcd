// SPDX-License-Identifier: Apache-2.0
#include "event_worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <thread>
#include <tuple>

#include "invariant.hpp"
#include "support/by_engine.hpp"
#include "support/fds.hpp"

namespace doorbell::soak {
namespace {

using namespace std::chrono_literals;
using test::block;

constexpr char untouched = '.';
constexpr auto longest_call = 40s;
constexpr std::size_t most_concurrent = 6;

/// An error that calls may return while a limit is lowered: too few descriptors, threads or locked memory.
bool is_shortage(int error) noexcept { return error == EAGAIN || error == EMFILE || error == ENOMEM; }

timespec as_timespec(std::chrono::nanoseconds length) {
  return {.tv_sec = static_cast<time_t>(length.count() / 1'000'000'000),
          .tv_nsec = static_cast<long>(length.count() % 1'000'000'000)};
}

}  // namespace

event_files::event_files()
    : direct{test::temporary_file()}, cached{test::temporary_file()}, kernel_eventfd{test::kernel_eventfd()} {
  ::fcntl(direct.get(), F_SETFL, O_DIRECT);  // has no effect if the file system does not support it
  ::fcntl(pipe.write.get(), F_SETFL, O_NONBLOCK);
}

event_worker::event_worker(event_world& world, event_files& files, std::uint64_t seed)
    : world_{world}, files_{files}, random_{static_cast<std::minstd_rand::result_type>(seed)}, places_(places) {
  for (std::size_t at = 0; at < places_.size(); ++at) {
    auto& each = places_[at];
    each.number = at;
    each.buffer = test::blocks_of(untouched);
    rewrite(each, false);
    rewrite(each, true);
  }
}

void event_worker::run() {
  while (!world_.ends) {
    step();
    steps_.fetch_add(1, std::memory_order_relaxed);
  }
  take_part_in_pause(pause::depth::empty);
}

void event_worker::step() {
  if (const auto how = world_.pause.asked(); how != pause::depth::none) {
    take_part_in_pause(how);
    doing_ = "rests";
    return world_.pause.rest();
  }
  if (!ctx_) set_up();
  if (!ctx_) return std::this_thread::sleep_for(1ms);
  submit_some();
  if (random_() % 2 == 0) feed_pipe();
  if (random_() % 4 == 0) cancel_one();
  get_some(std::chrono::microseconds{random_() % (random_() % 8 == 0 ? 20'000 : 1'000)});
  if (++steps_of_context_ < longest_life_) return;
  if (random_() % 2 == 0) drain();
  tear_down();
  check_counts();
}

void event_worker::take_part_in_pause(pause::depth how) {
  if (how == pause::depth::between_calls) return;
  drain();
  if (how == pause::depth::empty) tear_down();
  check_counts();
}

// Contexts.

void event_worker::set_up() {
  doing_ = "setup";
  const limits::look look{world_.lowered};
  const auto engine =
      world_.only.value_or(random_() % 2 == 0 ? aio::engine_kind::automatic : aio::engine_kind::threads);
  std::error_code ec;
  aio::context made{places, engine, ec};
  if (ec) {
    ++counts_.short_setups;
    return require(look.is_short() && is_shortage(ec.value()), "a context can be created", ec.value());
  }
  ctx_.emplace(std::move(made));
  ++counts_.contexts;
  counts_.by_uring += ctx_->engine() == "io_uring";
  handle_.store(ctx_->handle(), std::memory_order_release);
  steps_of_context_ = 0;
  longest_life_ = 1 + static_cast<unsigned>(random_() % 60);
  // Drops the data that the requests of the former context have left.
  while (test::readable(files_.pipe.read.get())) {
    char byte = 0;
    std::ignore = ::read(files_.pipe.read.get(), &byte, 1);
  }
}

void event_worker::tear_down() {
  if (!ctx_) return;
  doing_ = "destroy";
  const auto begun = clock::now();
  std::error_code ec;
  handle_ = 0;
  ctx_->destroy(ec);
  require(!ec, "a context can be destroyed", ec.value());
  require(clock::now() - begun < longest_call, "destroy returns in time");
  ctx_.reset();
  doing_ = "looks at files";
  for (auto& each : places_)
    if (each.in_flight) settle_destroyed(each);
}

// An accepted write is in the file, unless the program has cancelled it.
void event_worker::settle_destroyed(place& one) {
  one.in_flight = false;
  --in_flight_;
  ++counts_.destroyed;
  if (one.is == kind::write) {
    if (one.is_cancelled)
      rewrite(one, one.is_direct);
    else
      one.letter.at(one.is_direct ? 1 : 0) = one.written;
    check_file(one, one.is_direct);
  }
  std::fill_n(one.buffer.get(), block, untouched);
}

void event_worker::drain() {
  const auto begun = clock::now();
  while (ctx_ && in_flight_ > 0) {
    feed_pipe();
    get_some(5ms);
    doing_ = "waits for the last requests";
    if (clock::now() - begun < longest_call) continue;
    for (const auto& each : places_)
      if (each.in_flight)
        std::fprintf(stderr, "not answered: kind %d direct %d cancelled %d eventfd %d, engine %.*s\n",
                     static_cast<int>(each.is), each.is_direct, each.is_cancelled, static_cast<int>(each.target),
                     static_cast<int>(ctx_->engine().size()), ctx_->engine().data());
    return require(false, "each request is answered", static_cast<long long>(in_flight_));
  }
}

// Checks the counts if no request is in flight. A signal may arrive a little after the event.
void event_worker::check_counts() {
  if (in_flight_ > 0) return;
  doing_ = "looks at counts";
  const auto give_up = clock::now() + longest_call;
  std::uint64_t counted = 0;
  while (counted < signals_ && clock::now() < give_up) {
    std::error_code none;
    counted += efd_.read(none);
    if (counted < signals_) std::this_thread::sleep_for(100us);
  }
  require(counted == signals_, "each request signals its eventfd once", static_cast<long long>(signals_ - counted));
  // Signals to a kernel eventfd whose duplicate the program has closed are dropped. If the number of closes is odd, the
  // program is closing descriptors now.
  const auto may_be_dropped = [this] { return closes_at_check_ % 2 != 0 || world_.closes != closes_at_check_; };
  std::uint64_t kernels = test::take(files_.kernel_eventfd.get());
  while (kernels < kernel_signals_ && !may_be_dropped() && clock::now() < give_up) {
    std::this_thread::sleep_for(100us);
    kernels += test::take(files_.kernel_eventfd.get());
  }
  // A count that was missing at the last check, where it could have been dropped, may have arrived later.
  require(kernels <= kernel_signals_ + kernel_late_ && (may_be_dropped() || kernels >= kernel_signals_),
          "each request signals its kernel eventfd once", static_cast<long long>(kernel_signals_ - kernels));
  kernel_late_ = kernel_signals_ - std::min(kernel_signals_, kernels);
  signals_ = kernel_signals_ = 0;
  closes_at_check_ = world_.closes;
}

// Submitting.

void event_worker::submit_some() {
  doing_ = "submit";
  std::vector<place*> some;
  const std::size_t wanted = 1 + random_() % most_concurrent;
  for (auto& each : places_)
    if (!each.in_flight && some.size() < wanted) some.push_back(&each);
  if (some.empty()) return;
  for (auto* each : some) prepare(*each);
  const limits::look look{world_.lowered};
  int error = 0;
  const auto accepted = submit(some, error);
  if (accepted == some.size()) return;
  ++counts_.short_submits;
  require(look.is_short() && is_shortage(error), "a request is accepted", error);
}

void event_worker::prepare(place& one) {
  require(has(one, untouched), "no buffer is accessed after its request", static_cast<long long>(one.number));
  one.is_cancelled = false;
  one.is_direct = random_() % 2 == 0;
  const auto dice = random_() % 16;
  if (dice < 12) {
    prepare_file_request(one);
  } else if (dice < 14) {
    one.is = kind::poll;
    one.request = aio::prep_poll(files_.pipe.read.get(), POLLIN);
  } else {
    one.is = kind::pipe;
    one.request = aio::prep_pread(files_.pipe.read.get(), one.buffer.get(), 1, 0);
  }
  one.target = static_cast<signals>(random_() % 3);
  if (one.target == signals::eventfd) one.request.set_eventfd(efd_);
  if (one.target == signals::kernel_eventfd) {
    one.request.flags |= aio::iocb_abi::flag_resfd;
    one.request.resfd = static_cast<std::uint32_t>(files_.kernel_eventfd.get());
  }
  one.request.data = &one;
}

void event_worker::prepare_file_request(place& one) {
  const auto dice = random_() % 8;
  const auto offset = static_cast<std::int64_t>(one.number * block);
  if (dice < 4) {
    one.is = kind::read;
    one.request = aio::prep_pread(file_of(one.is_direct), one.buffer.get(), block, offset);
  } else if (dice < 7) {
    one.is = kind::write;
    one.written = static_cast<char>('a' + random_() % 26);
    std::fill_n(one.buffer.get(), block, one.written);
    one.request = aio::prep_pwrite(file_of(one.is_direct), one.buffer.get(), block, offset);
  } else {
    one.is = kind::sync;
    one.request = aio::prep_fdsync(file_of(one.is_direct));
  }
  if (random_() % 2 == 0) one.request = test::by_engine(one.request);
}

// Sometimes submits in a thread that ends before the requests complete.
std::size_t event_worker::submit(std::span<place*> some, int& error) {
  std::size_t accepted = 0;
  const auto all = [&] {
    error = 0;
    while (accepted < some.size() && error == 0) accepted += submit_once(some.subspan(accepted), error);
  };
  bool has_thread = random_() % 16 == 0;
  try {
    if (has_thread) std::thread{all}.join();
  } catch (const std::system_error&) {
    has_thread = false;  // RLIMIT_NPROC
  }
  if (!has_thread) all();
  for (auto* each : some.first(accepted)) {
    each->is_orphan = has_thread;
    accept(*each);
  }
  for (auto* each : some.subspan(accepted)) std::fill_n(each->buffer.get(), block, untouched);
  return accepted;
}

// Submits the leading requests that use the same call: through aio::context if they signal an eventfd of doorbell,
// otherwise by handle.
std::size_t event_worker::submit_once(std::span<place*> some, int& error) {
  const auto is_ours = [](const place* each) { return each->target == signals::eventfd; };
  const bool by_context = is_ours(some.front());
  const auto end = std::ranges::find_if(some, [&](const place* each) { return is_ours(each) != by_context; });
  std::array<aio::iocb*, places> asked{};
  std::array<aio::iocb_abi*, places> by_handle{};
  std::size_t count = 0;
  for (auto at = some.begin(); at != end; ++at, ++count) {
    (*at)->since_submit.emplace(world_.lowered);
    asked.at(count) = &(*at)->request;
    by_handle.at(count) = &(*at)->request;
  }
  if (by_context) {
    std::error_code ec;
    const auto accepted = ctx_->submit(std::span{asked}.first(count), ec);
    error = ec.value();
    return accepted;
  }
  const int answer = aio::io_submit(ctx_->handle(), static_cast<long>(count), by_handle.data());
  if (answer < 0) error = -answer;
  return answer < 0 ? 0 : static_cast<std::size_t>(answer);
}

void event_worker::accept(place& one) {
  one.in_flight = true;
  ++in_flight_;
  ++counts_.accepted;
  signals_ += one.target == signals::eventfd;
  kernel_signals_ += one.target == signals::kernel_eventfd;
}

// Getting events.

void event_worker::get_some(std::chrono::microseconds longest) {
  doing_ = "getevents";
  std::array<aio::io_event, places> events{};
  const limits::look look{world_.lowered};
  const auto begun = clock::now();
  const auto least = in_flight_ > 0 ? random_() % 3 : 0;
  auto timeout = as_timespec(longest);
  long got = 0;
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  const aio::aio_sigset mask{.sigmask = &blocked, .sigsetsize = 8};
  switch (random_() % 4) {
    case 0:
      got = aio::io_getevents(ctx_->handle(), static_cast<long>(least), places, events.data(), &timeout);
      break;
    case 1:
      got = aio::io_pgetevents(ctx_->handle(), static_cast<long>(least), places, events.data(), &timeout, &mask);
      break;
    default: {
      std::error_code ec;
      got = static_cast<long>(ctx_->get_events(least, events, longest, ec).size());
      if (ec) got = -ec.value();
    }
  }
  require(clock::now() - begun < longest + longest_call / 4, "a wait ends in time");
  if (got >= 0) {
    for (const auto& each : std::span{events}.first(static_cast<std::size_t>(got))) account_for(each);
  } else if (got == -EINTR) {
    ++counts_.interrupted;
  } else {
    ++counts_.short_waits;
    require(look.is_short() && is_shortage(static_cast<int>(-got)), "events can be got", got);
  }
}

void event_worker::account_for(const aio::io_event& event) {
  const auto of = std::ranges::find(places_, event.data, [](auto& each) -> void* { return &each; });
  if (of == places_.end()) return require(false, "an event belongs to a request of this thread");
  auto& one = *of;
  require(event.obj == &one.request, "an event names its request");
  if (!one.in_flight) return require(false, "a request has one event", static_cast<long long>(one.number));
  one.in_flight = false;
  --in_flight_;
  ++counts_.answered;
  account_for_result(one, event.res);
  std::fill_n(one.buffer.get(), block, untouched);
}

void event_worker::account_for_result(place& one, std::int64_t res) {
  const bool waits = one.is == kind::poll || one.is == kind::pipe;
  if (one.is_cancelled && (res == -ECANCELED || (one.is == kind::poll && res == 0))) {
    ++counts_.cancelled;
    return;
  }
  // The request was in a ring because the I/O threads could not take it. The ring cancelled it when its thread ended,
  // and it could not be started again.
  if (waits && one.is_orphan && one.since_submit->is_short() && res == (one.is == kind::poll ? 0 : -ECANCELED)) {
    ++counts_.short_orphans;
    return;
  }
  if (waits && res == -EAGAIN) {
    ++counts_.short_answers;
    return require(one.since_submit->is_short(), "a request that waits fails only if a limit is lowered", res);
  }
  switch (one.is) {
    case kind::read:
      require(res == block, "a read inside a file reads all requested bytes", res);
      return require(has(one, one.letter.at(one.is_direct ? 1 : 0)), "a read gets the bytes written last",
                     one.buffer.get()[0]);
    case kind::write:
      one.letter.at(one.is_direct ? 1 : 0) = one.written;
      return require(res == block && has(one, one.written), "a write writes all requested bytes", res);
    case kind::sync:
      return require(res == 0, "a file can be synced", res);
    case kind::poll:
      return require(res == POLLIN, "a poll reports the requested event", res);
    case kind::pipe:
      return require(res == 1 && one.buffer.get()[0] == 'x', "a read of a pipe gets the byte", res);
  }
}

void event_worker::cancel_one() {
  doing_ = "cancel";
  auto& one = places_.at(random_() % places_.size());
  if (!one.in_flight) return;
  std::error_code ec;
  one.is_cancelled = true;
  ctx_->cancel(one.request, ec);
  require(!ec || ec.value() == EINVAL || ec.value() == EAGAIN, "a request can be cancelled", ec.value());
}

void event_worker::feed_pipe() {
  if (!test::readable(files_.pipe.read.get())) std::ignore = ::write(files_.pipe.write.get(), "x", 1);
}

// Files.

bool event_worker::has(const place& one, char letter) const {
  return std::all_of(one.buffer.get(), one.buffer.get() + block, [letter](char each) { return each == letter; });
}

void event_worker::check_file(place& one, bool direct) {
  const auto got = ::pread(file_of(direct), scratch_.get(), block, static_cast<off_t>(one.number * block));
  const char letter = one.letter.at(direct ? 1 : 0);
  const bool is_right = std::all_of(scratch_.get(), scratch_.get() + block, [&](char each) { return each == letter; });
  require(got == static_cast<ssize_t>(block) && is_right, "an accepted write is in its file after destroy", got);
}

void event_worker::rewrite(place& one, bool direct) {
  std::fill_n(scratch_.get(), block, one.letter.at(direct ? 1 : 0));
  const auto written = ::pwrite(file_of(direct), scratch_.get(), block, static_cast<off_t>(one.number * block));
  require(written == static_cast<ssize_t>(block), "the program can write its files", written);
}

}  // namespace doorbell::soak
