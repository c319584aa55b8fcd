// SPDX-License-Identifier: Apache-2.0
//
// notifier: a callback on an eventfd's wait queue, which any thread can take off at any time, without a race.
//
// What is certain:
//  - After unregister() has returned, and after the destructor has, no callback of this notifier runs, but for the one that
//    the call is made in. So it is for each of several threads that unregister at once; one of them is told that it did.
//  - release() runs at most once a registration: when the last handle is closed, and unregister() has not been first.
//    Exactly one of the two wins; unregister() says which.
//  - No signal is lost or told twice around register_with(): what came before is in its answer, what comes after calls.
//
// Callbacks run in the signalling (closing) thread, under the queue's lock. They are short, do not block and do not throw.
// Legal inside: unregister this notifier or any other on the same eventfd; signal any eventfd, this one included
// (delivered when the outermost callback's lock is let go); close handles, also the last one of any (so is its HUP);
// destroy this notifier, from release() only. Refused with resource_deadlock_would_occur, at once: a blocking read,
// io_destroy, and registering with or unregistering from another eventfd.
//
// Thread safety: register_with() and unregister() may be called at once, from any thread. Lifetime: linked in, so neither
// copied nor moved; it holds a reference to the eventfd_ctx, never an open file, or the HUP would never come.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <absl/functional/any_invocable.h>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/export.hpp>
#include <doorbell/base/wait_queue.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

/// Who ended a registration.
enum class decoupled {
  by_us,          ///< this call: release() did not run and never will
  by_hup,         ///< the last handle's close: release() has run to its end (or is what called us)
  not_registered  ///< nobody: there was none, or another unregister() has ended it
};

// What the two callbacks of a notifier are made of. Its constructors make them where they stay: a function whose type has
// been erased is moved by a call.
template <class Function>
concept signal_callback = std::constructible_from<absl::AnyInvocable<void(eventfd_ctx&)>, Function>;
template <class Function>
concept release_callback = std::constructible_from<absl::AnyInvocable<void()>, Function>;

class DOORBELL_EXPORT notifier {
 public:
  using signal_function = absl::AnyInvocable<void(eventfd_ctx&)>;
  using release_function = absl::AnyInvocable<void()>;

  /// How signals are shared with the others on the queue.
  enum class sharing {
    every,      ///< called for each signal
    exclusive,  ///< one of the exclusive ones for each signal, in turns
  };

  /// Not registered yet.
  /// @param signal what makes a signal_function; it is made in place. @param release a release_function, or none.
  template <signal_callback Signal, release_callback Release = std::nullptr_t>
  explicit notifier(Signal&& signal, Release&& release = {}) : entry_{*this}, signal_{std::forward<Signal>(signal)} {
    if constexpr (!std::same_as<std::remove_cvref_t<Release>, std::nullptr_t>)
      release_.emplace(std::forward<Release>(release));
  }

  /// Registered with `bell`. Errors: as register_with().
  template <signal_callback Signal, release_callback Release = std::nullptr_t>
  notifier(const eventfd& bell, Signal&& signal, Release&& release = {})
      : notifier{std::forward<Signal>(signal), std::forward<Release>(release)} {
    start(bell);
  }
  template <signal_callback Signal, release_callback Release = std::nullptr_t>
  notifier(const eventfd& bell, Signal&& signal, Release&& release, std::error_code& ec)
      : notifier{std::forward<Signal>(signal), std::forward<Release>(release)} {
    start(bell, ec);
  }

  notifier(const notifier&) = delete;
  notifier& operator=(const notifier&) = delete;

  /// Unregisters. May sleep on the queue's lock, until a callback that runs has ended. Inside a callback of another eventfd,
  /// where that could deadlock, it ends the program: unregister through an executor, or earlier.
  ~notifier();

  /// Puts the notifier on the queue of `bell`. May sleep on the queue's lock.
  /// @return whether the count is above 0 now: such signals came before, and call nobody.
  /// Errors: device_or_resource_busy when it is registered; bad_file_descriptor when `bell` is closed;
  /// resource_deadlock_would_occur in a callback of another eventfd.
  /// Source: eventfd_notifier_register() of the eventfd notifier patch.
  bool register_with(const eventfd& bell, sharing how = sharing::every);
  bool register_with(const eventfd& bell, sharing how, std::error_code& ec) noexcept;
  bool register_with(const eventfd& bell, std::error_code& ec) noexcept {
    return register_with(bell, sharing::every, ec);
  }

  /// Takes the notifier off; after that it can be registered again. May sleep on the queue's lock.
  /// Errors: resource_deadlock_would_occur in a callback of another eventfd; it stays registered.
  /// Source: eventfd_notifier_unregister() of the eventfd notifier patch.
  decoupled unregister();
  decoupled unregister(std::error_code& ec) noexcept;

  /// Takes the notifier off and drains the count as a read would, in one step: a signal comes before both, and has called
  /// and is in the count, or after both, and is neither.
  /// @param[out] count what was taken.
  /// Errors: as unregister(); resource_unavailable_try_again when the count was 0, and it is unregistered all the same.
  /// Source: eventfd_ctx_remove_wait_queue() of the Linux kernel.
  decoupled unregister_and_read(std::uint64_t& count);
  decoupled unregister_and_read(std::uint64_t& count, std::error_code& ec) noexcept;

 private:
  struct entry : base::wait_entry {
    explicit entry(notifier& whose) noexcept : wait_entry{&notifier::on_wake<signal_function>}, owner{whose} {}
    notifier& owner;
  };

  // A template only so that its name contains Abseil's inline namespace. Each constructor refers to this function, and
  // the library defines it for its own release of Abseil only, so a program built with another release does not link
  // (docs/headers.md).
  template <class Function>
  static int on_wake(base::wait_entry& woken, unsigned events) noexcept;
  void call(eventfd_ctx& ctx) noexcept;
  void on_hup() noexcept;
  static void end_share_in_callback(eventfd_ctx& ctx) noexcept;
  void wait_until_over() noexcept;
  void sleep_while_leaving(std::uint32_t& state) noexcept;
  // An error is an errc until it is told to the caller: an error_code that says "none" costs a call.
  template <class Answer>
  struct outcome {
    std::errc error;
    Answer answer;
  };
  void start(const eventfd& bell);
  void start(const eventfd& bell, std::error_code& ec) noexcept;
  outcome<bool> try_register(const eventfd& bell, sharing how) noexcept;
  outcome<bool> enter_queue(const eventfd& bell, sharing how) noexcept;
  outcome<decoupled> try_unregister() noexcept;
  outcome<decoupled> try_unregister_and_read(std::uint64_t& count) noexcept;
  enum class claim : std::uint8_t { taken, by_callback, by_callback_after_hup, nothing, refused };
  [[nodiscard]] claim begin_leaving() noexcept;
  [[nodiscard]] std::uint32_t claimed_word(std::uint32_t state, const eventfd_ctx* ctx) const noexcept;
  template <class UnderLock>
  decoupled leave_in_callback(bool is_on_queue, UnderLock under_lock) noexcept;
  std::uint32_t clear_active() noexcept;
  template <class UnderLock>
  decoupled pass_through_lock(UnderLock under_lock) noexcept;
  void pass_through_lock_at_end() noexcept;
  void end_leaving() noexcept;
  outcome<decoupled> without_leaving(claim made) noexcept;
  template <class UnderLock>
  outcome<decoupled> leave(UnderLock under_lock) noexcept;

  entry entry_;
  base::atomic<std::uint32_t> state_{0};
  std::uint32_t generation_ = 0;             // of whoever has made state_ busy
  base::atomic<eventfd_ctx*> ctx_{nullptr};  // whose queue; while registered
  bool calling_ = false;                     // one of the two below is on the stack; under the queue's lock
  signal_function signal_;
  std::optional<release_function> release_;  // an empty function is still a call to destroy
};

extern template DOORBELL_EXPORT int notifier::on_wake<notifier::signal_function>(base::wait_entry& woken,
                                                                                 unsigned events) noexcept;

}  // namespace doorbell
