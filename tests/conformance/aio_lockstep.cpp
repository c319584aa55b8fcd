// SPDX-License-Identifier: Apache-2.0
#include "aio_lockstep.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

namespace doorbell::test {
namespace {

using kind = operation::kind;

// Fewer than the number of slots on any machine. The first limit is for the context that outlives programs.
constexpr std::size_t most_in_flight = 120;
constexpr std::size_t most_in_flight_elsewhere = 30;

void print(std::ostream& out, int answer) { out << answer; }
void print(std::ostream& out, std::uint32_t answer) { out << answer; }
void print(std::ostream& out, bool answer) { out << answer; }
void print(std::ostream& out, const std::array<unsigned, 3>& ring) {
  out << "head " << ring[1] << ", tail " << ring[2] << " of " << ring[0];
}
void print(std::ostream& out, const std::string& text) { out << "'" << text << "'"; }
void print(std::ostream& out, const std::vector<std::int64_t>& numbers) {
  for (const auto each : numbers) out << each << ' ';
}
void print(std::ostream& out, const std::vector<told_event>& events) {
  for (const auto& each : events)
    out << "[#" << each.number << " res " << each.res << " res2 " << each.res2
        << (each.data_comes_back ? "" : " not its data") << " read " << each.read << "]";
}

unsigned interest(const request_spec& poll) { return static_cast<unsigned>(poll.events) | POLLERR | POLLHUP; }
bool is_poll(const request_spec& one) { return one.opcode == static_cast<std::uint16_t>(aio::opcode::poll); }

}  // namespace

std::optional<std::string> aio_lockstep::run(const aio_program& program) {
  begin();
  for (const auto& one : program) {
    if (difference_) break;
    if (log_) *log_ << "  " << one << '\n';
    step(one);
  }
  if (!difference_) finish();
  clean_up();
  return difference_;
}

void aio_lockstep::begin() {
  difference_.reset();
  in_flight_.clear();
  got_ = {};
  signals_ = {};
  writer_was_used_ = false;
  for (auto* world : {&kernel_, &doorbell_}) world->begin_program();
}

// After a difference, requests may still be in flight: the contexts are destroyed with them.
void aio_lockstep::clean_up() {
  for (auto* world : {&kernel_, &doorbell_}) {
    if (difference_ || !world->has_context(0)) world->forget_contexts();
    world->end_program();
  }
}

template <class Answer>
void aio_lockstep::compare(const char* what, const Answer& kernels, const Answer& doorbells) {
  if (difference_ || (kernels == doorbells && log_ == nullptr)) return;
  std::ostringstream text;
  text << what << ": kernel ";
  print(text, kernels);
  text << ", doorbell ";
  print(text, doorbells);
  if (log_) *log_ << "    " << text.str() << '\n';
  if (kernels != doorbells) difference_ = text.str();
}

template <class Ask>
int aio_lockstep::both(const char* what, Ask ask) {
  int kernels = 0;
  kernels_thread_.run([&] { kernels = ask(kernel_); });
  const int doorbells = ask(doorbell_);
  compare(what, kernels, doorbells);
  return kernels;
}

void aio_lockstep::step(const operation& one) {
  switch (one.what) {
    case kind::setup:
      setup(one);
      break;
    case kind::destroy:
    case kind::destroy_twice:
      destroy(one);
      break;
    case kind::submit:
      submit(one);
      break;
    case kind::submit_badly:
      both("submit", [&](auto& world) { return world.submit_badly(one); });
      break;
    case kind::cancel:
      cancel(one);
      break;
    case kind::get_all:
      get(one.context, certain(one.context), one.get);
      break;
    case kind::get_some:
      get(one.context, one.how % (certain(one.context) + 1), one.get);
      break;
    case kind::exchange_numbers:
      for (auto* world : {&kernel_, &doorbell_})
        world->exchange_numbers(static_cast<target>(one.number % targets), static_cast<target>(one.number / targets));
      break;
    case kind::get_badly:
      both("getevents", [&](auto& world) { return world.get_badly(one, certain(one.context) > 0); });
      break;
    default:
      change_source(one);
  }
  look_for_certain_ones();
}

// The kernel's limit is for the whole machine, so contexts of other processes may have used it up.
void aio_lockstep::setup(const operation& one) {
  const int kernels = kernel_.setup(one);
  const int doorbells = doorbell_.setup(one);
  if (kernels == -EAGAIN && doorbells == 0)
    doorbell_.destroy(one.context);
  else
    compare("setup", kernels, doorbells);
}

void aio_lockstep::destroy(const operation& one) {
  both("destroy", [&](auto& world) {
    return one.what == kind::destroy ? world.destroy(one.context) : world.destroy_twice(one.context);
  });
  for (auto* world : {&kernel_, &doorbell_}) std::ignore = world->take_events(one.context);
  got_.at(one.context) = 0;
  // All requests of the context have completed and signalled, and their events are gone with the context.
  for (const auto& [number, request] : in_flight_) {
    if (request.context != one.context || request.spec.efd == eventfd_choice::none) continue;
    ++signals_.at(request.spec.efd == eventfd_choice::second);
  }
  std::erase_if(in_flight_, [&](const auto& each) { return each.second.context == one.context; });
}

void aio_lockstep::submit(const operation& one) {
  const auto most = one.context == 0 ? most_in_flight : most_in_flight_elsewhere;
  if (count(one.context) + one.requests.size() > most) return;
  const bool changes = std::any_of(one.requests.begin(), one.requests.end(), must_be_alone);
  if (changes) settle();
  for (const auto& each : one.requests) writer_was_used_ |= each.file == target::pipe_writer;
  if (std::any_of(one.requests.begin(), one.requests.end(), [&](auto& each) { return would_sleep_in_kernel(each); }))
    return;
  const int taken = both("submit", [&](auto& world) { return world.submit(one); });
  compare_keys(one, taken);
  if (difference_) return;
  account_for(one, taken);
  if (changes) settle();
}

// Keys of accepted requests only: doorbell passes some requests to the kernel unchecked, and has set the keys of the
// whole batch before the kernel refuses one of them.
void aio_lockstep::compare_keys(const operation& one, int taken) {
  for (int at = 0; at < taken; ++at) {
    const auto number = one.requests[static_cast<std::size_t>(at)].number;
    compare("key", kernel_.key_of(number), doorbell_.key_of(number));
  }
}

void aio_lockstep::account_for(const operation& one, int taken) {
  for (int at = 0; at < taken; ++at) {
    const auto& spec = one.requests[static_cast<std::size_t>(at)];
    in_flight_.insert_or_assign(spec.number,
                                in_flight{.spec = spec, .context = one.context, .certain = !is_poll(spec)});
  }
  look_for_certain_ones();
}

bool aio_lockstep::would_sleep_in_kernel(const request_spec& one) const {
  if (!is_transfer(one) || one.file > target::pipe_writer || does_not_block(one.file)) return false;
  const unsigned event = is_write(one) ? POLLOUT : POLLIN;
  return (kernel_.readiness(one.file, event) & (event | POLLHUP | POLLERR)) == 0;
}

void aio_lockstep::look_for_certain_ones() {
  for (auto& [number, request] : in_flight_) {
    if (request.certain) continue;
    const auto there = kernel_.readiness(request.spec.file, static_cast<unsigned>(request.spec.events));
    request.certain = (there & interest(request.spec)) != 0;
  }
}

// A request that is certain to complete is not cancelled: the result would depend on whether it has completed already.
void aio_lockstep::cancel(const operation& one) {
  const auto at = in_flight_.find(one.number);
  const bool well_formed = one.how > 3;
  const bool here = at != in_flight_.end() && at->second.context == one.context && well_formed;
  if (here && at->second.certain) return;
  const int answer = both("cancel", [&](auto& world) { return world.cancel(one); });
  if (here && answer == -EINPROGRESS) at->second.certain = true;
}

void aio_lockstep::get(unsigned context, unsigned count, manner how) {
  if (how == manner::for_more && count < certain(context)) how = manner::with_timeout;
  const int got = both("getevents", [&](auto& world) { return world.get(context, static_cast<long>(count), how); });
  if (got <= 0 || difference_) return;
  got_.at(context) += static_cast<unsigned>(got);
  if (certain(context) == 0) compare_events(context);
}

void aio_lockstep::compare_events(unsigned context) {
  compare("events", kernel_.take_events(context), doorbell_.take_events(context));
  compare("ring", kernel_.ring(context), doorbell_.ring(context));
  for (const auto& [number, request] : in_flight_) {
    if (request.context != context || !request.certain || request.spec.efd == eventfd_choice::none) continue;
    ++signals_.at(request.spec.efd == eventfd_choice::second);
  }
  std::erase_if(in_flight_, [&](const auto& each) { return each.second.context == context && each.second.certain; });
  got_.at(context) = 0;
}

void aio_lockstep::compare_eventfds() {
  for (unsigned efd = 0; efd < efds; ++efd) {
    const auto times = std::exchange(signals_.at(efd), 0);
    compare("eventfds", kernel_.takes_signals(efd, times), doorbell_.takes_signals(efd, times));
    compare("eventfds", true, doorbell_.take_eventfds(efd) == 0);
  }
}

void aio_lockstep::settle() {
  for (unsigned context = 0; context < contexts; ++context)
    if (certain(context) > 0) get(context, certain(context));
  if (!difference_) compare_eventfds();
}

void aio_lockstep::change_source(const operation& one) {
  settle();
  // A request that has just completed may hold the file of the writer a moment longer, so the time at which the pipe
  // hangs up is undefined.
  if (one.what == kind::hang_up && one.number == static_cast<unsigned>(target::pipe) && writer_was_used_) return;
  for (auto* world : {&kernel_, &doorbell_}) {
    if (one.what == kind::fill) world->fill(one.number);
    if (one.what == kind::empty) world->empty(one.number);
    if (one.what == kind::stop_up) world->stop_up(one.number);
    if (one.what == kind::make_room) world->make_room(one.number);
    if (one.what == kind::shut_down) world->shut_down(one.number);
    if (one.what == kind::hang_up) world->hang_up(one.number);
  }
}

// Cancels the requests that are still in flight, and compares the final states.
void aio_lockstep::finish() {
  settle();
  const auto left = in_flight_;
  for (const auto& [number, request] : left) {
    if (difference_) return;
    operation ending;
    ending.what = kind::cancel;
    ending.context = request.context;
    ending.number = number;
    ending.how = 15;
    cancel(ending);
  }
  settle();
  compare("nothing left in flight", true, difference_ || in_flight_.empty());
  compare("files", kernel_.files_are_intact(), doorbell_.files_are_intact());
  compare("appended", kernel_.appended(), doorbell_.appended());
  compare("positions", kernel_.positions(), doorbell_.positions());
  for (unsigned file = 0; file < sources; ++file) {
    const auto source = static_cast<target>(file);
    const auto left_to_read = [&](aio_world& world) { return (world.readiness(source, POLLIN) & POLLIN) != 0; };
    compare("something left to read", left_to_read(kernel_), left_to_read(doorbell_));
  }
}

unsigned aio_lockstep::certain(unsigned context) const {
  const auto all = std::count_if(in_flight_.begin(), in_flight_.end(), [&](const auto& each) {
    return each.second.context == context && each.second.certain;
  });
  return static_cast<unsigned>(all) - got_.at(context);
}

std::size_t aio_lockstep::count(unsigned context) const {
  return static_cast<std::size_t>(std::count_if(in_flight_.begin(), in_flight_.end(),
                                                [&](const auto& each) { return each.second.context == context; }));
}

}  // namespace doorbell::test
