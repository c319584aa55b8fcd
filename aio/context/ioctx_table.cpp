// SPDX-License-Identifier: Apache-2.0
#include "ioctx_table.hpp"

#include <doorbell/base/rcu.hpp>

#include <algorithm>
#include <bit>
#include <new>
#include <span>

#include "kioctx.hpp"

namespace doorbell::aio {

struct ioctx_table::slots {
  explicit slots(std::size_t count) : mask{count - 1}, at{std::make_unique<base::atomic<kioctx*>[]>(count)} {}

  [[nodiscard]] std::size_t size() const noexcept { return mask + 1; }
  [[nodiscard]] std::span<base::atomic<kioctx*>> all() const noexcept { return {at.get(), size()}; }
  [[nodiscard]] bool crowded() const noexcept { return 2 * (used + 1) > size(); }

  /// Writers only.
  void insert(kioctx& ctx) noexcept {
    auto place = first_place(ctx.key());
    while (is_context(at[place].load(base::memory_order_relaxed))) place = (place + 1) & mask;
    used += at[place].load(base::memory_order_relaxed) == nullptr;
    // Release pairs with the acquire in find(): a context that is found is constructed.
    at[place].store(&ctx, base::memory_order_release);
  }

  void erase(const kioctx& ctx) noexcept {
    for (auto& each : all())
      if (each.load(base::memory_order_relaxed) == &ctx) each.store(freed(), base::memory_order_release);
  }

  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& each : all())
      if (auto* const ctx = each.load(base::memory_order_acquire); is_context(ctx)) visit(*ctx);
  }

  [[nodiscard]] std::size_t first_place(std::uintptr_t key) const noexcept {
    // Handles are page addresses. This hashes the number of the page.
    // equivalent fault (constant): with any other numbers, each key has a first place, too
    return ((key >> 12) * 0x9e3779b97f4a7c15U >> 32) & mask;
  }

  /// Marks a slot whose context has been removed.
  static kioctx* freed() noexcept { return reinterpret_cast<kioctx*>(alignof(std::max_align_t)); }
  static bool is_context(const kioctx* content) noexcept { return content != nullptr && content != freed(); }

  const std::size_t mask;
  std::size_t used = 0;  // slots that are not empty: contexts and marks
  const std::unique_ptr<base::atomic<kioctx*>[]> at;
  slots* left_before = nullptr;  // the array that was forgotten before this one
};

void kioctx_user::leave() noexcept {
  if (auto* const ctx = std::exchange(ctx_, nullptr)) ctx->users().put();
}

ioctx_table& ioctx_table::process() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory for the table the program ends
  static ioctx_table& one = *new ioctx_table;
  return one;
}

// Ensures that there is an array with space for one more context: the current one or a new one. @return the old array,
// if it must be freed.
ioctx_table::slots_ptr ioctx_table::make_room(std::error_code& ec) noexcept {
  auto* const now = slots_.load_for_update();
  if (now != nullptr && !now->crowded()) return nullptr;
  std::size_t contexts = 0;
  if (now != nullptr) now->for_each([&](kioctx&) { ++contexts; });
  try {
    auto larger = std::make_unique<slots>(std::max<std::size_t>(16, std::bit_ceil(4 * (contexts + 1))));
    if (now != nullptr) now->for_each([&](kioctx& ctx) { larger->insert(ctx); });
    slots_.store(larger.release());
  } catch (const std::bad_alloc&) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return nullptr;
  }
  return slots_ptr{now};
}

void ioctx_table::add(kioctx& ctx, std::error_code& ec) noexcept {
  slots_ptr old;
  {
    const base::mutex_lock held{lock_};
    old = make_room(ec);
    if (!ec) slots_.load_for_update()->insert(ctx);
  }
  if (old != nullptr) base::rcu_synchronize();
}

// Adds the context to the list before it removes it from the array: a reader that reads the array first finds the
// context in at least one of them.
void ioctx_table::remove(kioctx& ctx) noexcept {
  const base::mutex_lock held{lock_};
  ctx.next_ending_.store(first_ending_.load(base::memory_order_relaxed), base::memory_order_relaxed);
  // Release pairs with the acquire in file_io_left(), and so does the release in erase().
  first_ending_.store(&ctx, base::memory_order_release);
  slots_.load_for_update()->erase(ctx);
}

// The link of the removed context stays: a reader that has reached this context continues from there.
void ioctx_table::forget(kioctx& ctx) noexcept {
  const base::mutex_lock held{lock_};
  auto* at = &first_ending_;
  auto* found = at->load(base::memory_order_relaxed);
  for (; found != &ctx; found = at->load(base::memory_order_relaxed)) {
    if (found == nullptr) return;  // in a child of fork(2) that continues its parent's call
    at = &found->next_ending_;
  }
  at->store(ctx.next_ending_.load(base::memory_order_relaxed), base::memory_order_release);
}

ioctx_table::file_io ioctx_table::file_io_left(pid_t process, bool may_reap) const noexcept {
  const base::rcu_read_guard reading;
  file_io all;
  const auto add = [&](kioctx& ctx) {
    if (ctx.process_ != process) return;
    const auto its = ctx.file_io_left();
    all.requests += its.left;
    // equivalent fault (dropped): a context that is reaped without need costs time; the caller may reap any
    const bool is_stuck = its.left > 0 && its.must_be_reaped;
    if (is_stuck && may_reap && all.to_reap == nullptr && ctx.users().tryget_live()) all.to_reap = &ctx;
  };
  if (const auto* const now = slots_.load(reading)) now->for_each(add);
  for (auto* each = first_ending_.load(base::memory_order_acquire); each != nullptr;
       each = each->next_ending_.load(base::memory_order_acquire))
    add(*each);
  return all;
}

kioctx_user ioctx_table::lookup(std::uintptr_t handle) noexcept {
  if (auto found = find(handle)) return found;
  return find_moved(handle) ? find(handle) : kioctx_user{};
}

kioctx_user ioctx_table::find(std::uintptr_t handle) const noexcept {
  const base::rcu_read_guard reading;
  const auto* const now = slots_.load(reading);
  if (now == nullptr) return {};
  for (auto place = now->first_place(handle);; place = (place + 1) & now->mask) {
    auto* const ctx = now->at[place].load(base::memory_order_acquire);
    if (ctx == nullptr) return {};
    if (slots::is_context(ctx) && ctx->key() == handle) return kioctx_user{ctx->users().tryget_live() ? ctx : nullptr};
  }
}

// A program may have moved a ring by mremap(2), without any notification. Then the handle is the new address.
bool ioctx_table::find_moved(std::uintptr_t handle) noexcept {
  if (!ring::looks_like_one(handle)) return false;
  slots_ptr old;
  kioctx* moved = nullptr;
  {
    const base::mutex_lock held{lock_};
    auto* const now = slots_.load_for_update();
    if (now == nullptr) return false;
    now->for_each([&](kioctx& ctx) {
      if (moved == nullptr && ctx.has_moved_to(handle)) moved = &ctx;
    });
    if (moved == nullptr) return false;
    now->erase(*moved);
    std::error_code no_memory;
    old = make_room(no_memory);
    slots_.load_for_update()->insert(*moved);
  }
  if (old != nullptr) base::rcu_synchronize();
  return true;
}

void ioctx_table::forget_all() noexcept {
  const base::mutex_lock held{lock_};  // equivalent fault (scope): the child has no other thread yet
  for (auto* each = first_ending_.exchange(nullptr, base::memory_order_acquire); each != nullptr;
       each = each->next_ending_.load(base::memory_order_relaxed))
    each->abandon_in_child();
  auto* const parents = slots_.exchange(nullptr);
  if (parents == nullptr) return;
  parents->for_each([](kioctx& ctx) { ctx.abandon_in_child(); });
  parents->left_before = left_behind_;  // equivalent fault (assignment): as in begin_anew()
  left_behind_ = parents;               // equivalent fault (assignment): as in begin_anew()
}

void ioctx_table::begin_anew() noexcept {
  auto* const parents = slots_.load_for_update();
  auto* const grandparents = left_behind_;
  new (this) ioctx_table;
  // equivalent fault (assignment, negated): only leak checkers see whether the memory is reachable
  left_behind_ = parents != nullptr ? parents : grandparents;
  // equivalent fault (assignment, dropped): as above
  if (parents != nullptr) parents->left_before = grandparents;
}

}  // namespace doorbell::aio
