// SPDX-License-Identifier: Apache-2.0
//
// Atomic operations. Happens-before follows C++: a release synchronizes with a thread that acquires its value or that
// of a later RMW in its release sequence. Without weak memory, the values are sequentially consistent: an operation
// takes effect for all threads when it is executed. With weak memory, a load may return an older value, and a store may
// be inserted before later ones (past_stores.hpp).
#include <doorbell_model/calls.hpp>

#include <cstring>
#include <string>
#include <vector>

#include "checker/past_stores.hpp"
#include "checker/scheduler.hpp"
#include "checker/tracking.hpp"
#include "sleep.hpp"

namespace doorbell::model {
namespace {

std::uint64_t read(const void* at, std::size_t bytes) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, at, bytes);
  return value;
}

void write(void* at, std::size_t bytes, std::uint64_t value) noexcept { std::memcpy(at, &value, bytes); }

bool acquires(std::memory_order order) noexcept {
  return order != std::memory_order_relaxed && order != std::memory_order_release;
}

bool releases(std::memory_order order) noexcept {
  return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

const char* name_of(atomic_operation what) noexcept {
  switch (what) {
    case atomic_operation::load:
      return "load";
    case atomic_operation::store:
      return "store";
    case atomic_operation::exchange:
      return "exchange";
    case atomic_operation::add:
      return "add";
    case atomic_operation::subtract:
      return "subtract";
    case atomic_operation::bit_and:
      return "and";
    case atomic_operation::bit_or:
      return "or";
    case atomic_operation::bit_xor:
      return "xor";
  }
  return "atomic";
}

std::uint64_t after(atomic_operation what, std::uint64_t before, std::uint64_t operand) noexcept {
  switch (what) {
    case atomic_operation::load:
      return before;
    case atomic_operation::store:
    case atomic_operation::exchange:
      return operand;
    case atomic_operation::add:
      return before + operand;
    case atomic_operation::subtract:
      return before - operand;
    case atomic_operation::bit_and:
      return before & operand;
    case atomic_operation::bit_or:
      return before | operand;
    case atomic_operation::bit_xor:
      return before ^ operand;
  }
  return before;
}

/// An atomic, and the store that the current thread's operation reads or follows.
class location {
 public:
  /// A step.
  location(scheduler& all, void* at, std::size_t bytes, const char* name, bool writes) noexcept
      : all_{all}, at_{at}, bytes_{bytes} {
    all.step({.name = name, .object = at, .writes = writes});
    all.all_memory().access(all.who(), at, bytes, access_kind::atomic);
    known_ = &all.object_at(at);
    found_ = latest();
    // A value that was written without an atomic operation, such as the initial one, is known to all threads: otherwise
    // the write would be a data race.
    if (all.is_weak() && (known_->past.empty() || known_->past.at(0).value != found_.value)) known_->past.begin(found_);
  }

  /// From now on the operation knows the stores that the callers of wake() on this address knew.
  void trust_wakers() noexcept {
    with_wakers_ = all_.current().happened;
    with_wakers_.join(known_->wakers);
    happened_ = &with_wakers_;
  }

  /// Chooses the latest store or an older one for which `may_be` holds. The search tries each.
  template <class Condition>
  void find(const Condition& may_be) noexcept {
    if (!all_.is_weak()) return;
    std::vector<unsigned> ages{0};
    const auto most = known_->past.most_age(me(std::memory_order_relaxed));
    for (unsigned age = 1; age <= most; ++age)
      if (may_be(age)) ages.push_back(age);
    age_ = ages[all_.pick_older(static_cast<unsigned>(ages.size()))];
    found_ = known_->past.at(age_);
  }

  // For the conditions of find().
  [[nodiscard]] bool may_read(unsigned age, std::memory_order order) const noexcept {
    return age <= known_->past.most_age(me(order));
  }
  [[nodiscard]] bool may_store_after(unsigned age, std::memory_order order) const noexcept {
    return may_read(age, order) && known_->past.is_open(age);
  }
  [[nodiscard]] std::uint64_t value_at(unsigned age) const noexcept { return known_->past.at(age).value; }

  [[nodiscard]] std::uint64_t value() const noexcept { return found_.value; }
  void load(std::memory_order order) noexcept {
    if (acquires(order)) all_.current().happened.join(found_.released);
    if (all_.is_weak()) known_->past.read(me(order), age_);
  }
  void store(std::uint64_t value, bool is_rmw, std::memory_order order) noexcept {
    auto& thread = all_.current();
    if (is_rmw && acquires(order)) thread.happened.join(found_.released);
    past_store made{.value = value, .released = {}, .is_rmw = is_rmw};
    if (is_rmw) made.released = found_.released;
    if (releases(order)) made.released.join(thread.happened);
    if (all_.is_weak()) known_->past.store(me(order), age_, made);
    if (releases(order)) thread.happened.tick(thread.id);
    if (age_ > 0) return;
    known_->released = made.released;
    write(at_, bytes_, value);
  }

  [[nodiscard]] std::string text(std::uint64_t value) const { return value_text(value, bytes_); }
  /// Text for a trace if the chosen store is not the latest.
  [[nodiscard]] std::string text_of_age(const char* relation) const {
    return age_ == 0 ? "" : std::string{", "} + relation + " the latest " + text(read(at_, bytes_));
  }

 private:
  [[nodiscard]] past_store latest() const noexcept {
    return {.value = read(at_, bytes_), .released = known_->released, .is_rmw = false};
  }
  [[nodiscard]] past_stores::accessor me(std::memory_order order) const noexcept {
    return {.thread = all_.current().id, .happened = *happened_, .seq_cst = order == std::memory_order_seq_cst};
  }

  scheduler& all_;
  void* at_;
  std::size_t bytes_;
  object* known_ = nullptr;
  const vector_clock* happened_ = &all_.current().happened;
  vector_clock with_wakers_;
  unsigned age_ = 0;
  past_store found_;
};

}  // namespace

std::uint64_t atomic_step(atomic_operation what, void* at, std::size_t bytes, std::uint64_t operand,
                          std::memory_order order) noexcept {
  auto& all = scheduler::one();
  const not_tracked here;
  const bool loads = what == atomic_operation::load;
  if (!all.running()) {
    const auto before = read(at, bytes);
    if (!loads) write(at, bytes, after(what, before, operand));
    return before;
  }
  // Later seq_cst loads of other threads must not miss the store that this seq_cst load reads, so their order matters.
  const bool counts = all.is_weak() && order == std::memory_order_seq_cst;
  location here_is{all, at, bytes, name_of(what), !loads || counts};
  here_is.find(
      [&](unsigned age) { return loads ? here_is.may_read(age, order) : here_is.may_store_after(age, order); });
  const auto before = here_is.value();
  if (loads)
    here_is.load(order);
  else
    here_is.store(after(what, before, operand), what != atomic_operation::store, order);
  if (all.has_trace())
    all.tell(here_is.text(before) +
             (loads ? here_is.text_of_age("older than")
                    : " -> " + here_is.text(after(what, before, operand)) + here_is.text_of_age("which comes before")));
  return before;
}

bool compare_exchange(void* at, std::size_t bytes, std::uint64_t& expected, std::uint64_t desired,
                      std::memory_order success, std::memory_order failure) noexcept {
  auto& all = scheduler::one();
  const not_tracked here;
  if (!all.running()) {
    const auto before = read(at, bytes);
    const bool done = before == expected;
    if (done) write(at, bytes, desired);
    expected = before;
    return done;
  }
  location here_is{all, at, bytes, "compare_exchange", true};
  here_is.find([&](unsigned age) {
    return here_is.value_at(age) == expected ? here_is.may_store_after(age, success) : here_is.may_read(age, failure);
  });
  const auto before = here_is.value();
  const bool done = before == expected;
  if (done)
    here_is.store(desired, true, success);
  else
    here_is.load(failure);
  if (all.has_trace())
    all.tell(done ? here_is.text(before) + " -> " + here_is.text(desired) + here_is.text_of_age("which comes before")
                  : "is " + here_is.text(before) + ", not " + here_is.text(expected) +
                        here_is.text_of_age("older than"));
  expected = before;
  return done;
}

std::uint64_t futex_load(const void* at, std::size_t bytes) noexcept {
  constexpr auto order = std::memory_order_seq_cst;
  auto& all = scheduler::one();
  location here_is{all, const_cast<void*>(at), bytes, "futex_wait", true};
  here_is.trust_wakers();
  here_is.find([&](unsigned age) { return here_is.may_read(age, order); });
  here_is.load(std::memory_order_relaxed);
  if (all.has_trace()) all.tell(here_is.text(here_is.value()) + here_is.text_of_age("older than"));
  return here_is.value();
}

void new_object(const void* at) noexcept {
  const not_tracked here;
  if (auto& all = scheduler::one(); all.running()) all.new_object(at);
}

}  // namespace doorbell::model
