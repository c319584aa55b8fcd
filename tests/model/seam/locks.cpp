// SPDX-License-Identifier: Apache-2.0
//
// Mutexes, and the sleep and wake operations of condition variables and futexes.
#include <doorbell_model/calls.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "checker/failure.hpp"
#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"
#include "sleep.hpp"

namespace doorbell::model {
namespace {

bool is_free(const void* owner) noexcept { return *static_cast<const int*>(owner) == nobody; }
bool is_woken(const void* sleeper) noexcept { return static_cast<const thread*>(sleeper)->woken; }

void take(scheduler& all, const void* mutex, int& owner) noexcept {
  auto& me = all.current();
  owner = static_cast<int>(me.id);
  me.happened.join(all.object_at(mutex).released);
  if (!all.locks().allows(me.locks, mutex))
    fail(failure::lock_order_inversion, me.name + " locks a mutex that was once locked before one that it holds");
  me.locks.push_back(mutex);
}

void check(scheduler& all, const void* mutex) noexcept {
  all.all_memory().access(all.who(), mutex, 1, access_kind::atomic);
}

std::vector<thread*> sleepers_on(scheduler& all, const void* at) {
  std::vector<thread*> found;
  for (auto& each : all.threads())
    if (each.body != nullptr && each.sleeps_on == at && !each.woken) found.push_back(&each);
  return found;
}

}  // namespace

void lock(const void* mutex, int& owner) noexcept {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const not_tracked here;
  if (owner == static_cast<int>(all.current().id))
    fail(failure::deadlock, all.current().name + " locks a mutex that it already holds");
  all.step({.name = "lock", .object = mutex, .ready = is_free, .asked = &owner});
  check(all, mutex);
  take(all, mutex, owner);
}

bool try_lock(const void* mutex, int& owner) noexcept {
  auto& all = scheduler::one();
  if (!all.running()) return true;
  const not_tracked here;
  all.step({.name = "try_lock", .object = mutex});
  check(all, mutex);
  if (owner != nobody) return false;
  take(all, mutex, owner);
  return true;
}

void unlock(const void* mutex, int& owner) noexcept {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const not_tracked here;
  check(all, mutex);
  auto& me = all.current();
  if (owner != static_cast<int>(me.id)) fail(failure::assertion, me.name + " unlocks a mutex that it does not hold");
  owner = nobody;
  std::erase(me.locks, mutex);
  auto& known = all.object_at(mutex);
  known.released.join(me.happened);
  me.happened.tick(me.id);
  all.leave(mutex);
}

bool fall_asleep(scheduler& all, const void* at, bool timed) noexcept {
  auto& me = all.current();
  me.sleeps_on = at;
  me.woken = false;
  all.step({.name = timed ? "sleep, for a time" : "sleep",
            .object = at,
            .ready = is_woken,
            .asked = &me,
            .timed = timed,
            .sleeps = true});
  me.sleeps_on = nullptr;
  if (all.has_trace()) all.tell(me.woken ? "is woken" : "time is up");
  return me.woken;
}

bool unlock_and_sleep(const void* at, void (*unlock)(void*), void* argument, bool timed) noexcept {
  auto& all = scheduler::one();
  const not_tracked here;
  all.step({.name = "wait", .object = at});
  unlock(argument);
  return fall_asleep(all, at, timed);
}

// The object at the address may no longer exist.
void wake(const void* at, unsigned sleepers) noexcept {
  auto& all = scheduler::one();
  if (!all.running()) return;
  const not_tracked here;
  all.step({.name = sleepers == 1 ? "wake one" : "wake all", .object = at});
  auto& me = all.current();
  all.object_at(at).wakers.join(me.happened);
  me.happened.tick(me.id);
  auto asleep = sleepers_on(all, at);
  if (all.has_trace()) all.tell(asleep.empty() ? "no thread sleeps there" : std::to_string(asleep.size()) + " asleep");
  for (; sleepers > 0 && !asleep.empty(); --sleepers) {
    const auto which = sleepers >= asleep.size() ? 0 : all.pick(static_cast<unsigned>(asleep.size()));
    asleep[which]->woken = true;
    asleep.erase(asleep.begin() + which);
  }
}

}  // namespace doorbell::model
