// SPDX-License-Identifier: Apache-2.0
//
// notifier: a callback on an eventfd's wait queue, which any thread can take off at any time, without a race.
//
// Guarantees:
//  - After unregister() has returned, and after the destructor has, no callback of this notifier runs, except the one
//    that the call is made in. This holds for each of several threads that unregister concurrently; one of them is told
//    that it ended the registration.
//  - release() runs at most once in a registration: when the last handle is closed before unregister() has been called.
//    Exactly one of the two wins; unregister() says which.
//  - No signal is lost or told twice around register_with(): what came before is in its answer, what comes after calls.
//
// Callbacks run in the signalling (closing) thread, under the queue's lock. They are short, do not block and do not throw.
// Legal inside: unregister this notifier or any other on the same eventfd, and register it there again; signal any
// eventfd, this one included (delivered when the outermost callback's lock is released); close handles, also the last
// one of any (so is its HUP); destroy any other notifier on the same eventfd, and this one from release() only.
// Refused immediately with resource_deadlock_would_occur: a blocking read, io_destroy, and registering with or
// unregistering from another eventfd.
//
// Thread safety: register_with() and unregister() may be called concurrently, from any thread. Lifetime: linked in, so
// neither copied nor moved; it holds a reference to the eventfd_ctx, never an open file, or the HUP would never come.
// A registration that the last close has ended counts as one until unregister() has said so: register_with() is refused
// until then. A child of fork(2) must not use an eventfd with a notifier on the stack of a thread that it does not have
// (docs/eventfd.md, fork).
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
#include <doorbell/base/fork_aware_mutex.hpp>
#include <doorbell/base/wait_queue.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/eventfd_ctx.hpp>

namespace doorbell {

/// Who ended a registration.
enum class decoupled {
  by_us,          ///< this call: release() did not run and never will
  by_hup,         ///< the last handle's close: release() has run to its end (or is what called us)
  not_registered  ///< there was none, or another unregister() has ended it
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
  /// @param signal what makes a signal_function; it is made in place. @param release what makes a release_function. A
  /// null pointer and an empty function (of std::function, too) stand for none: then nothing is called.
  template <signal_callback Signal, release_callback Release = std::nullptr_t>
  explicit notifier(Signal&& signal, Release&& release = {})
      : entry_{*this}, signal_{make_signal(std::forward<Signal>(signal))} {
    if constexpr (!std::same_as<std::remove_cvref_t<Release>, std::nullptr_t>)
      if (!is_none(release)) release_.emplace(std::forward<Release>(release));
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

  /// Unregisters. May sleep until a callback that runs has returned. Two mistakes end the program with a sentence on
  /// stderr: to destroy a notifier in its own signal callback, which still uses it, and to destroy one that is
  /// registered with another eventfd in a callback, where waiting for that eventfd could deadlock.
  ~notifier();

  /// Puts the notifier on the queue of `bell`. May sleep until a callback that runs has returned. In a callback of
  /// `bell` it does not sleep, and the notifier is not called for the signal that the callback runs for.
  /// @return whether the count is above 0 now: such signals came before, and do not call.
  /// Errors: device_or_resource_busy when it is registered, or, in a callback only, when another thread is inside
  /// register_with() or unregister() of this notifier; bad_file_descriptor when `bell` is closed;
  /// resource_deadlock_would_occur in a callback of another eventfd.
  /// Source: eventfd_notifier_register() of the eventfd notifier patch.
  bool register_with(const eventfd& bell, sharing how = sharing::every);
  bool register_with(const eventfd& bell, sharing how, std::error_code& ec) noexcept;
  bool register_with(const eventfd& bell, std::error_code& ec) noexcept {
    return register_with(bell, sharing::every, ec);
  }

  /// Takes the notifier off; after that it can be registered again. May sleep until a callback that runs has returned.
  /// Errors: resource_deadlock_would_occur in a callback of another eventfd; it stays registered.
  /// Source: eventfd_notifier_unregister() of the eventfd notifier patch.
  decoupled unregister();
  decoupled unregister(std::error_code& ec) noexcept;

  /// Takes the notifier off and drains the count as a read would, in one step: a signal comes before both, and has called
  /// and is in the count, or after both, and is neither.
  /// @param[out] count what was taken.
  /// Errors: as unregister(). The form with an error_code also says resource_unavailable_try_again when the count was
  /// 0; the notifier has been unregistered then, too, so the throwing form does not throw.
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
  // An error is an errc until it is told to the caller: an error_code that says "none" costs a call.
  template <class Answer>
  struct outcome {
    std::errc error;
    Answer answer;
  };
  template <class Function>
  [[nodiscard]] static bool is_none(const Function& function) noexcept {
    if constexpr (requires { static_cast<bool>(function == nullptr); })
      return function == nullptr;
    else
      return false;
  }
  // So that call() need not look whether there is one.
  template <class Signal>
  [[nodiscard]] static signal_function make_signal(Signal&& signal) {
    if (is_none(signal)) return signal_function{[](eventfd_ctx&) {}};
    return signal_function{std::forward<Signal>(signal)};
  }

  /// Of a registration whose active bit is clear.
  enum class end : std::uint8_t {
    untold,  ///< by HUP, which the next unregister() says
    told     ///< by HUP or by an unregister() in a callback, and a caller has been told so
  };

  void call(eventfd_ctx& ctx) noexcept;
  void on_hup() noexcept;
  void start(const eventfd& bell);
  void start(const eventfd& bell, std::error_code& ec) noexcept;
  outcome<bool> try_register(const eventfd& bell, sharing how) noexcept;
  outcome<bool> register_in_callback(eventfd_ctx* to, sharing how) noexcept;
  outcome<bool> enter_queue(eventfd_ctx* to, sharing how) noexcept;
  outcome<bool> enter_again(eventfd_ctx& own, sharing how) noexcept;
  outcome<bool> begin(eventfd_ctx& to) noexcept;
  outcome<decoupled> try_unregister() noexcept;
  outcome<decoupled> try_unregister_and_read(std::uint64_t& count) noexcept;
  template <class Lock, class UnderLock>
  outcome<decoupled> leave(UnderLock under_lock) noexcept;
  [[nodiscard]] decoupled take_off(eventfd_ctx& ctx) noexcept;
  [[nodiscard]] bool has_ended() const noexcept;
  [[nodiscard]] bool let_go(eventfd_ctx& ctx) noexcept;
  void destroy_in_callback(bool is_locked) noexcept;
  void end_with(eventfd_ctx& ctx) noexcept;

  entry entry_;
  base::fork_aware_mutex mutex_;
  base::atomic<eventfd_ctx*> ctx_{nullptr};
  base::atomic<bool> active_{false};
  end end_ = end::told;
  signal_function signal_;
  std::optional<release_function> release_;  // an empty function is still a call to destroy
};

extern template DOORBELL_EXPORT int notifier::on_wake<notifier::signal_function>(base::wait_entry& woken,
                                                                                 unsigned events) noexcept;

}  // namespace doorbell
