// SPDX-License-Identifier: Apache-2.0
//
// notifier: a callback on an eventfd's wait queue. Any thread can unregister it at any time, without a race.
//
// Guarantees:
//  - After unregister() has returned, and after the destructor has, no callback of this notifier runs, except the one
//    that makes the call. This holds for each of several threads that unregister concurrently; one of them learns that
//    it ended the registration.
//  - release() runs at most once in a registration: if the last handle is closed before unregister() has been called.
//    Exactly one of the two ends the registration; unregister() returns which.
//  - No signal is lost or reported twice around register_with(): its result includes the signals that came before; for
//    those that come after, the callback is called.
//
// Callbacks run in the signalling (closing) thread, under the queue's lock. They are short, do not block and do not
// throw.
// Legal inside: unregister this notifier or any other on the same eventfd, and register it there again; signal any
// eventfd, this one included (delivered when the outermost callback's lock is released); close handles, also the last
// one of any eventfd (its POLLHUP is delivered in the same way); destroy any other notifier on the same eventfd, and
// this one from release() only.
// Refused immediately with resource_deadlock_would_occur: a blocking read, io_destroy, and registering with or
// unregistering from another eventfd.
//
// Thread safety: register_with() and unregister() may be called concurrently, from any thread. Lifetime: a member of a
// linked list, so it can be neither copied nor moved. It keeps the eventfd_ctx in memory, but never the eventfd open;
// otherwise POLLHUP would never come.
// After the last close has ended a registration, register_with() is refused until an unregister() has returned by_hup.
// A child of fork(2) must not use an eventfd with a notifier on the stack of a thread that it does not have
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

/// How a registration ended.
enum class decoupled {
  by_us,          ///< by this call: release() did not run and never will
  by_hup,         ///< by the close of the last handle: release() has returned (or makes this call)
  not_registered  ///< there was no registration, or another unregister() has ended it
};

// Arguments from which the two callbacks of a notifier can be constructed. Its constructors construct them in place,
// because moving a type-erased function costs a call.
template <class Function>
concept signal_callback = std::constructible_from<absl::AnyInvocable<void(eventfd_ctx&)>, Function>;
template <class Function>
concept release_callback = std::constructible_from<absl::AnyInvocable<void()>, Function>;

class DOORBELL_EXPORT notifier {
 public:
  using signal_function = absl::AnyInvocable<void(eventfd_ctx&)>;
  using release_function = absl::AnyInvocable<void()>;

  /// How the entries of the queue share signals.
  enum class sharing {
    every,      ///< called for each signal
    exclusive,  ///< one of the exclusive ones for each signal, in turns
  };

  /// Not registered yet.
  /// @param signal constructs a signal_function, in place. @param release constructs a release_function, in place. A
  /// null pointer or an empty function (also of std::function) means no callback.
  template <signal_callback Signal, release_callback Release = std::nullptr_t>
  explicit notifier(Signal&& signal, Release&& release = {})
      : entry_{*this}, signal_{make_signal(std::forward<Signal>(signal))} {
    if constexpr (!std::same_as<std::remove_cvref_t<Release>, std::nullptr_t>)
      if (!is_none(release)) release_.emplace(std::forward<Release>(release));
  }

  /// Registered with `efd`. Errors: as register_with().
  template <signal_callback Signal, release_callback Release = std::nullptr_t>
  notifier(const eventfd& efd, Signal&& signal, Release&& release = {})
      : notifier{std::forward<Signal>(signal), std::forward<Release>(release)} {
    start(efd);
  }
  template <signal_callback Signal, release_callback Release = std::nullptr_t>
  notifier(const eventfd& efd, Signal&& signal, Release&& release, std::error_code& ec)
      : notifier{std::forward<Signal>(signal), std::forward<Release>(release)} {
    start(efd, ec);
  }

  notifier(const notifier&) = delete;
  notifier& operator=(const notifier&) = delete;

  /// Unregisters. May sleep until a running callback has returned. Two mistakes end the program with a sentence on
  /// stderr: destroying a notifier in its own signal callback, which still uses it, and destroying in a callback one
  /// that is registered with another eventfd, where waiting for that eventfd could deadlock.
  ~notifier();

  /// Puts the notifier on the queue of `efd`. May sleep until a running callback has returned. In a callback of `efd`
  /// it does not sleep, and the notifier is not called for the signal that the callback runs for.
  /// @return whether the count is above 0 now: these signals came before, and the notifier is not called for them.
  /// Errors: device_or_resource_busy if the notifier is registered, or if a HUP has ended its registration and no
  /// unregister() has returned by_hup yet, or, in a callback only, while another thread is inside register_with() or
  /// unregister() of this notifier; bad_file_descriptor if `efd` is closed;
  /// resource_deadlock_would_occur in a callback of another eventfd.
  /// Source: eventfd_notifier_register() of the eventfd notifier patch.
  bool register_with(const eventfd& efd, sharing how = sharing::every);
  bool register_with(const eventfd& efd, sharing how, std::error_code& ec) noexcept;
  bool register_with(const eventfd& efd, std::error_code& ec) noexcept {
    return register_with(efd, sharing::every, ec);
  }

  /// Removes the notifier from the queue; then it can be registered again. May sleep until a running callback has
  /// returned.
  /// Errors: resource_deadlock_would_occur in a callback of another eventfd; the notifier stays registered.
  /// Source: eventfd_notifier_unregister() of the eventfd notifier patch.
  decoupled unregister();
  decoupled unregister(std::error_code& ec) noexcept;

  /// Removes the notifier and drains the count as a read does, in one step: for a signal that comes concurrently,
  /// either the notifier is called and `count` includes it, or neither.
  /// @param[out] count the count that was taken.
  /// Errors: as unregister(). The form with an error_code also sets resource_unavailable_try_again if the count was 0;
  /// the notifier has been unregistered then, too, so the throwing form does not throw.
  /// Source: eventfd_ctx_remove_wait_queue() of the Linux kernel.
  decoupled unregister_and_read(std::uint64_t& count);
  decoupled unregister_and_read(std::uint64_t& count, std::error_code& ec) noexcept;

 private:
  struct entry : base::wait_entry {
    explicit entry(notifier& whose) noexcept : wait_entry{&notifier::on_wake<signal_function>}, owner{whose} {}
    notifier& owner;
  };

  // A template only so that its name contains Abseil's inline namespace. Each constructor refers to this function, and
  // the library defines it for its own release of Abseil only, so a program that uses another release does not link
  // (docs/headers.md).
  template <class Function>
  static int on_wake(base::wait_entry& woken, unsigned events) noexcept;
  // Errors are std::errc until a public function returns them: constructing an error_code without error costs a call.
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
  // Never empty, so call() needs no check.
  template <class Signal>
  [[nodiscard]] static signal_function make_signal(Signal&& signal) {
    if (is_none(signal)) return signal_function{[](eventfd_ctx&) {}};
    return signal_function{std::forward<Signal>(signal)};
  }

  /// How a registration whose active bit is clear has ended.
  enum class end : std::uint8_t {
    untold,  ///< by POLLHUP, and no unregister() has returned by_hup yet
    told     ///< by POLLHUP, and an unregister() has returned by_hup; or by an unregister() in a callback
  };

  void call(eventfd_ctx& ctx) noexcept;
  void on_hup() noexcept;
  void start(const eventfd& efd);
  void start(const eventfd& efd, std::error_code& ec) noexcept;
  outcome<bool> try_register(const eventfd& efd, sharing how) noexcept;
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
  std::optional<release_function> release_;  // optional, because destroying an empty function costs a call
};

extern template DOORBELL_EXPORT int notifier::on_wake<notifier::signal_function>(base::wait_entry& woken,
                                                                                 unsigned events) noexcept;

}  // namespace doorbell
