// SPDX-License-Identifier: Apache-2.0
//
// bell_canceller: the function object that operations of an eventfd leave in a cancellation slot. An emitted signal
// ends all operations of that eventfd that are bound to the slot.
//
// A slot holds one function object, and each operation that is bound to the slot replaces the object of the operation
// before. The replaced object hands its key on to the one that replaces it, if both are of the same eventfd:
//
//   connect(), of the second operation
//     slot.emplace():  ~bell_canceller(), of the first    leaves its key in the thread's `succession`
//                      bell_canceller(), of the second    takes that key, or makes a new one
//
// A key is therefore the slot's, until the slot is cleared, its signal is destroyed, or an operation of another object
// is bound to it. The address of the slot, or of the function object in it, would not do: the next signal may have
// both, and would end operations that are not bound to it.
//
// Thread safety: as a cancellation_slot, which one thread uses at a time.
// Lifetime: may outlive the eventfd and its execution context; it then ends nothing.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <cstdint>
#include <memory>
#include <utility>

#include <boost/asio/cancellation_type.hpp>

#include <doorbell/asio/detail/bell_watch.hpp>

namespace doorbell::asio::detail {

class bell_canceller {
  class succession;

 public:
  /// Binds an operation that is about to be started to `slot`.
  /// @return its cancellation key; 0 if the slot is connected to no signal.
  template <class Slot>
  [[nodiscard]] static std::uint64_t connect(Slot slot, const std::shared_ptr<bell_watch>& watch) {
    if (!slot.is_connected()) return 0;
    const succession here{watch};
    return slot.template emplace<bell_canceller>(watch, here).key_;
  }

  bell_canceller(const std::shared_ptr<bell_watch>& watch, const succession& before)
      : watch_{watch}, key_{before.key() != 0 ? before.key() : watch->make_cancellation_key()} {}
  ~bell_canceller() { succession::offer(watch_, key_); }
  bell_canceller(const bell_canceller&) = delete;
  bell_canceller& operator=(const bell_canceller&) = delete;

  void operator()(boost::asio::cancellation_type_t type) const {
    if (type == boost::asio::cancellation_type::none) return;
    if (const auto watch = watch_.lock()) watch->cancel(key_);
  }

 private:
  // While it is there, this thread replaces the function object in a slot.
  class succession {
   public:
    explicit succession(const std::shared_ptr<bell_watch>& watch) noexcept
        : watch_{watch}, outer_{std::exchange(innermost_, this)} {}
    ~succession() { innermost_ = outer_; }
    succession(const succession&) = delete;
    succession& operator=(const succession&) = delete;

    static void offer(const std::weak_ptr<bell_watch>& watch, std::uint64_t key) noexcept {
      if (innermost_ == nullptr) return;
      const auto& wanted = innermost_->watch_;
      if (!watch.owner_before(wanted) && !wanted.owner_before(watch)) innermost_->key_ = key;
    }
    /// The key of the replaced object; 0 if there was none of this eventfd.
    [[nodiscard]] std::uint64_t key() const noexcept { return key_; }

   private:
    static inline constinit thread_local succession* innermost_ = nullptr;

    const std::shared_ptr<bell_watch>& watch_;
    succession* const outer_;
    std::uint64_t key_ = 0;
  };

  const std::weak_ptr<bell_watch> watch_;
  const std::uint64_t key_;
};

}  // namespace doorbell::asio::detail
