// SPDX-License-Identifier: Apache-2.0
//
// slot_canceller: the function object that operations of an eventfd or a file leave in a cancellation slot. An emitted
// signal ends all operations of that eventfd or file that are bound to the slot.
//
// A slot holds one function object. Each operation that is bound to the slot replaces the object of the previous
// operation. The replaced object passes its key to its successor, if both belong to the same target:
//
//   connect_to_slot(), of the second operation
//     slot.emplace():  ~slot_canceller(), of the first    leaves its key in the thread's `succession`
//                      slot_canceller(), of the second    takes that key, or makes a new one
//
// A key therefore identifies the slot, until the slot is cleared, its signal is destroyed, or an operation of another
// object is bound to it. The address of the slot, or of the function object in it, is not a suitable key: the next
// signal may have the same addresses, and would end operations that are not bound to it.
//
// Thread safety: as a cancellation_slot, which one thread uses at a time.
// Lifetime: may outlive the target and its execution context; it then has no effect.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <cstdint>
#include <memory>
#include <utility>

#include <boost/asio/cancellation_type.hpp>

namespace doorbell::asio::detail {

/// @tparam Target has make_cancellation_key() and cancel(key).
template <class Target>
class slot_canceller {
 public:
  // Exists while this thread replaces the function object in a slot.
  class succession {
   public:
    explicit succession(const std::shared_ptr<Target>& target) noexcept
        : target_{target}, outer_{std::exchange(innermost_, this)} {}
    ~succession() { innermost_ = outer_; }
    succession(const succession&) = delete;
    succession& operator=(const succession&) = delete;

    static void offer(const std::weak_ptr<Target>& target, std::uint64_t key) noexcept {
      if (innermost_ == nullptr) return;
      const auto& wanted = innermost_->target_;
      if (!target.owner_before(wanted) && !wanted.owner_before(target)) innermost_->key_ = key;
    }
    /// The key of the replaced object; 0 if there was none of this target.
    [[nodiscard]] std::uint64_t key() const noexcept { return key_; }

   private:
    static inline constinit thread_local succession* innermost_ = nullptr;

    const std::shared_ptr<Target>& target_;
    succession* const outer_;
    std::uint64_t key_ = 0;
  };

  slot_canceller(const std::shared_ptr<Target>& target, const succession& before)
      : target_{target}, key_{before.key() != 0 ? before.key() : target->make_cancellation_key()} {}
  ~slot_canceller() { succession::offer(target_, key_); }
  slot_canceller(const slot_canceller&) = delete;
  slot_canceller& operator=(const slot_canceller&) = delete;

  void operator()(boost::asio::cancellation_type_t type) const {
    if (type == boost::asio::cancellation_type::none) return;
    if (const auto target = target_.lock()) target->cancel(key_);
  }

  [[nodiscard]] std::uint64_t key() const noexcept { return key_; }

 private:
  const std::weak_ptr<Target> target_;
  const std::uint64_t key_;
};

/// Binds an operation that is about to be started to `slot`.
/// @return its cancellation key; 0 if the slot is connected to no signal.
template <class Slot, class Target>
[[nodiscard]] std::uint64_t connect_to_slot(Slot slot, const std::shared_ptr<Target>& target) {
  if (!slot.is_connected()) return 0;
  const typename slot_canceller<Target>::succession here{target};
  return slot.template emplace<slot_canceller<Target>>(target, here).key();
}

}  // namespace doorbell::asio::detail
