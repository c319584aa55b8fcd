// SPDX-License-Identifier: Apache-2.0
#include "scheduler.hpp"

#include <boost/context/preallocated.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "failure.hpp"
#include "tracking.hpp"

namespace doorbell::model {
namespace {

constexpr unsigned too_many_steps = 20000;

/// The model checker owns the stacks, and keeps them.
struct no_deallocation {
  void deallocate(boost::context::stack_context&) noexcept {}
};

// The destructor of a fiber object would unwind its stack, which terminates the program in noexcept code. Therefore the
// object is never destroyed.
void leave_for_good(boost::context::fiber& where_it_is) noexcept {
  alignas(boost::context::fiber) static std::byte place[sizeof(boost::context::fiber)];
  ::new (static_cast<void*>(place)) boost::context::fiber{std::move(where_it_is)};
}

void add_once(std::vector<void (*)()>& all, void (*one)()) {
  const not_tracked here;
  if (std::ranges::find(all, one) == all.end()) all.push_back(one);
}

using all_threads = std::array<thread, max_threads>;

bool have_joined(const void* all) noexcept {
  return std::ranges::all_of(*static_cast<const all_threads*>(all), [](const auto& each) {
    return each.id == 0 || each.in_background || each.body == nullptr || each.finished;
  });
}

bool cannot_go_on(const thread& each) noexcept {
  return each.finished || (each.pending.ready != nullptr && !each.pending.ready(each.pending.asked));
}

bool fork_comes(const void* all) noexcept {
  return std::ranges::all_of(*static_cast<const all_threads*>(all),
                             [](const auto& each) { return !each.in_parent_only || cannot_go_on(each); });
}

bool background_rests(const void* all) noexcept {
  return std::ranges::all_of(*static_cast<const all_threads*>(all),
                             [](const auto& each) { return !each.in_background || each.rests(); });
}

bool background_has_ended(const void* all) noexcept {
  return std::ranges::all_of(*static_cast<const all_threads*>(all),
                             [](const auto& each) { return !each.in_background || each.finished; });
}

// Whether the scenario's own thread waits only for the state of the other threads.
bool waits_for_others(const thread& scenario) noexcept {
  const auto asks = scenario.pending.ready;
  return scenario.id == 0 &&
         (asks == have_joined || asks == fork_comes || asks == background_rests || asks == background_has_ended);
}

}  // namespace

std::string thread_name(unsigned thread) { return scheduler::one().threads()[thread].name; }

scheduler& scheduler::one() {
  static scheduler& only = *new scheduler;
  return only;
}

thread& scheduler::free_thread() noexcept {
  auto* const found =
      std::ranges::find_if(threads_, [](const auto& each) { return each.id != 0 && each.body == nullptr; });
  if (found == threads_.end()) fail(failure::broken_scenario, "more threads than the model checker supports");
  return *found;
}

void scheduler::begin(thread& made, std::string_view name, const std::function<void()>& body) {
  const auto id = made.id;
  made.name = name;
  made.body = &body;
  made.locals = thread_locals{};
  made.pending = {};
  made.finished = made.yielded = made.woken = false;
  made.in_background = made.in_parent_only = made.rests_asleep = false;
  made.order = current().order;
  made.happened = current().happened;
  made.happened.tick(id);
  made.sleeps_on = nullptr;
  made.cpu = id % 2;
  made.table = current().table;
  made.sections = 0;
  made.locks.clear();
  const auto& all = memory_.all_stacks();
  boost::context::stack_context stack;
  stack.size = stacks::bytes;
  stack.sp = all.top(id);
  made.fiber = boost::context::fiber{std::allocator_arg, boost::context::preallocated{stack.sp, stack.size, stack},
                                     no_deallocation{}, [this, &made](boost::context::fiber&& host) {
                                       made.host = std::move(host);
                                       run_thread(made);
                                       return std::move(made.host);
                                     }};
  ++alive_;
}

void scheduler::execute(strategy& how, void (*body)()) {
  const std::function<void()> whole{body};
  memory_.clear();
  objects_.clear();
  lock_order_.clear();
  taken_.clear();
  for (thread_id id = 0; id < max_threads; ++id) {
    threads_[id] = thread{};
    threads_[id].id = id;
  }
  strategy_ = &how;
  alive_ = steps_ = older_ = 0;
  previous_ = next_ = 0;
  how.begin();
  begin(threads_[0], "scenario", whole);
  auto* from = &outside_;
  while (alive_ > 0) {
    current_ = next_;
    auto& going = threads_[current_];
    going.locals.replace(*from);
    from = &going.locals;
    going.fiber = std::move(going.fiber).resume();
  }
  outside_.replace(*from);
  current_ = 0;
  memory_.expect_no_leak();
  for (auto* const finish : finishers_) finish();
  finishers_.clear();
  strategy_ = nullptr;
}

void scheduler::at_end(void (*finish)()) { add_once(finishers_, finish); }
void scheduler::before_end(void (*finish)()) { add_once(last_calls_, finish); }

void scheduler::run_thread(thread& me) noexcept {
  take_step(me);
  {
    const tracked code;
    (*me.body)();
  }
  if (me.id == 0) end_background();
  me.finished = true;
  memory_.set_stack_end(me.id, memory_.all_stacks().top(me.id));
  --alive_;
  if (alive_ > 0) next_ = next();
}

void scheduler::step(const operation& next_operation) noexcept {
  auto& me = current();
  if (me.in_parent_only && me.steps_left-- == 0) stop_for_ever(me);
  me.pending = next_operation;
  me.pending.object = memory_.first_mapping_of(next_operation.object);
  if (alive_ > 1) strategy_->announced(threads_, me, objects_);
  switch_to(next());
  take_step(me);
}

void scheduler::yield() noexcept {
  if (alive_ == 1) return;
  current().yielded = true;
  step({.name = "yield"});
}

void scheduler::switch_to(thread_id next) noexcept {
  if (next == current_) return;
  auto& me = current();
  next_ = next;
  memory_.set_stack_end(me.id, __builtin_frame_address(0));
  me.host = std::move(me.host).resume();
}

void scheduler::take_step(thread& me) noexcept {
  previous_ = me.id;
  for (auto& other : threads_)
    if (other.id != me.id) other.yielded = false;
  if (++steps_ > too_many_steps) fail(failure::livelock, "the threads do not end");
  if (alive_ > 1) strategy_->steps(threads_, me, objects_);
  if (trace_ != nullptr) trace_->step(me.id, me.pending.name, alive_ > 1);
}

thread_id scheduler::next() noexcept {
  candidates who{.ready = 0, .timed = 0, .previous = previous_};
  thread_mask yielded = 0;
  for (const auto& each : threads_) {
    if (each.body == nullptr || each.finished) continue;
    const auto& pending = each.pending;
    if (pending.ready == nullptr || pending.ready(pending.asked))
      (each.yielded ? yielded : who.ready) |= only(each.id);
    else if (pending.timed)
      who.timed |= only(each.id);
  }
  if (who.ready == 0) who.ready = yielded;
  if (who.all() == 0) stuck();
  if (alive_ == 1) return who.by_default();
  const auto chosen = strategy_->choose(who);
  taken_.add_step(chosen);
  return chosen;
}

unsigned scheduler::pick(unsigned alternatives) noexcept {
  if (alternatives < 2) return 0;
  const not_tracked here;
  const auto chosen = strategy_->pick(alternatives);
  taken_.add_pick(chosen);
  return chosen;
}

unsigned scheduler::pick_older(unsigned alternatives) noexcept {
  if (older_ == most_older_) return 0;
  const auto chosen = pick(alternatives);
  if (chosen > 0) ++older_;
  return chosen;
}

void scheduler::stuck() noexcept {
  bool all_asleep = true;
  std::string text;
  for (const auto& each : threads_) {
    if (each.body == nullptr || each.finished || waits_for_others(each)) continue;
    if (!each.pending.sleeps && !each.rests()) all_asleep = false;
    text += (text.empty() ? "" : ", ") + each.name + (each.rests() ? " rests in " : " is in ") + each.pending.name;
  }
  if (all_asleep) fail(failure::lost_wakeup, "all remaining threads sleep, and none is left to wake them: " + text);
  fail(failure::deadlock, "no thread can continue: " + text);
}

void scheduler::together(std::span<const part> parts) noexcept {
  const not_tracked here;
  auto& me = current();
  for (const auto& each : parts) begin(free_thread(), each.name, each.run);
  me.happened.tick(me.id);
  step({.name = "join", .ready = have_joined, .asked = &threads_});
  for (auto& each : threads_) {
    if (each.id == 0 || each.in_background || each.body == nullptr) continue;
    me.order.join(each.order);
    me.happened.join(each.happened);
    each.body = nullptr;
  }
}

void scheduler::stop_for_ever(thread& me) noexcept {
  me.finished = true;
  memory_.set_stack_end(me.id, memory_.all_stacks().top(me.id));
  --alive_;
  next_ = next();
  me.host = std::move(me.host).resume();
}

// Each thread has its own limit, instead of one limit for all. The search tries independent steps of threads in one
// order only, and the fork may come after any number of each thread's steps.
void scheduler::together_until_fork(std::span<const part> parts, unsigned steps) noexcept {
  const not_tracked here;
  auto& me = current();
  for (const auto& each : parts) {
    auto& made = free_thread();
    begin(made, each.name, each.run);
    made.in_parent_only = true;
    made.steps_left = pick(steps);
  }
  me.happened.tick(me.id);
  step({.name = "fork", .ready = fork_comes, .asked = &threads_});
  for (auto& each : threads_) {
    if (!each.in_parent_only) continue;
    // The kernel copies the memory between two steps, so the child sees all earlier steps.
    me.order.join(each.order);
    me.happened.join(each.happened);
    if (!each.finished) --alive_;
    memory_.let_stay(each.id);
    memory_.set_stack_end(each.id, memory_.all_stacks().top(each.id));
    if (each.fiber) leave_for_good(each.fiber);
    each.body = nullptr;
    each.in_parent_only = false;
  }
}

void scheduler::start_in_background(std::string_view name, void (*body)(void*) noexcept, void* argument,
                                    bool rests_asleep) noexcept {
  const not_tracked here;
  auto& made = free_thread();
  made.own_body = [body, argument] { body(argument); };
  begin(made, name, made.own_body);
  made.in_background = true;
  made.rests_asleep = rests_asleep;
  current().happened.tick(current().id);
}

// This does not add to happens-before: the caller has acquired nothing from the background threads.
void scheduler::let_background_rest() noexcept {
  if (in_background() == 0) return;
  const not_tracked here;
  step({.name = "let the background rest", .ready = background_rests, .asked = &threads_});
  for (const auto& each : threads_)
    if (each.in_background) current().order.join(each.order);
}

void scheduler::join_background() noexcept {
  const not_tracked here;
  auto& me = current();
  step({.name = "join the background", .ready = background_has_ended, .asked = &threads_});
  for (const auto& each : threads_) {
    if (!each.in_background) continue;
    me.order.join(each.order);
    me.happened.join(each.happened);
  }
}

std::size_t scheduler::in_background() const noexcept {
  return static_cast<std::size_t>(std::ranges::count_if(threads_, &thread::in_background));
}

void scheduler::end_background() noexcept {
  let_background_rest();
  for (auto& each : threads_) {
    if (!each.in_background) continue;
    if (!each.finished) --alive_;
    each.finished = true;
    leave_for_good(each.fiber);
  }
  const tracked code;
  for (auto* const last : std::exchange(last_calls_, {})) last();
}

}  // namespace doorbell::model
