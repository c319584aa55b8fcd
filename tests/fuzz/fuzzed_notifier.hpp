// SPDX-License-Identifier: Apache-2.0
//
// A notifier of an input, with the actions of its callbacks, and a record of its registrations.
//
// Its oracles: a registration ends once, by an unregister or by a HUP. release() runs once for each registration that a
// HUP ended, and never otherwise. No two callbacks of one notifier run concurrently. For a notifier with an owner,
// which alone registers and unregisters it outside callbacks, no callback runs after the owner's unregister.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "fuzzed_eventfd.hpp"
#include "require.hpp"

namespace doorbell::fuzz {

class fuzzed_notifier {
 public:
  /// The action of the callback, besides its checks.
  enum class action : std::uint8_t {
    nothing,
    signal,            // signals an eventfd, perhaps its own
    drain,             // drains its own eventfd
    unregister,        // unregisters itself
    unregister_other,  // unregisters another notifier; refused if that is on another eventfd
    close,             // closes a handle, perhaps the last one
    ask_too_much,      // makes calls that must be refused immediately
  };
  static constexpr std::size_t actions = static_cast<std::size_t>(action::ask_too_much) + 1;

  struct plan {
    action what = action::nothing;
    fuzzed_eventfd* on = nullptr;      // of signal, close, ask_too_much
    fuzzed_notifier* other = nullptr;  // of unregister_other
    bool release_signals = false;
  };

  fuzzed_notifier() = default;
  fuzzed_notifier(const fuzzed_notifier&) = delete;
  fuzzed_notifier& operator=(const fuzzed_notifier&) = delete;

  /// Called before each input.
  void renew(const plan& made, std::array<fuzzed_eventfd, 3>& efds) {
    plan_ = made;
    efds_ = &efds;
    fuel_ = most_signals;
    registered_ = by_us_ = by_hup_ = releases_ = 0;
    close_handle();
    if (made.what == action::close || made.what == action::ask_too_much) handle_ = made.on->first;
  }

  /// Called by the owner, or by any thread if there is no owner. @param handle a handle of `efd`.
  void register_with(const eventfd& handle, fuzzed_eventfd& efd, notifier::sharing how) {
    // While the notifier is registered, callbacks read armed_.
    if (owned_ && !armed_) armed_ = true;
    std::error_code ec;
    notifier_.register_with(handle, how, ec);
    if (ec) return;
    ++registered_;
    if (owned_) where_ = &efd;
  }
  void unregister() {
    account_for(notifier_.unregister());
    if (owned_) armed_ = false;
  }
  /// Called by the owner.
  void unregister_and_read() {
    std::uint64_t count = 0;
    std::error_code ec;
    const auto who = notifier_.unregister_and_read(count, ec);
    account_for(who);
    require((count > 0) == (!ec && who != decoupled::not_registered),
            "unregister_and_read takes a count above 0, or returns an error", ec.value());
    if (count > 0) where_->taken += count;
    armed_ = false;
  }
  /// Sets whether the notifier has an owner, which enables the checks for that case.
  void set_owned(bool owned) {
    owned_ = owned;
    armed_ = false;
  }

  /// Closes the handle that the callback may have left open. Called when no other thread runs.
  void close_handle() {
    std::error_code closed_already;
    handle_.close(closed_already);
  }
  /// Checks the registrations. Called when all handles are closed.
  void check() {
    account_for(notifier_.unregister());
    require(by_us_ + by_hup_ == registered_, "a registration ends once", registered_ - by_us_ - by_hup_);
    require(releases_ == by_hup_, "release runs once for each registration that a HUP ended", releases_ - by_hup_);
  }

 private:
  static constexpr int most_signals = 50;

  void account_for(decoupled who) {
    if (who == decoupled::by_us) ++by_us_;
    if (who == decoupled::by_hup) ++by_hup_;
  }

  /// A scope that covers a callback.
  class running {
   public:
    explicit running(fuzzed_notifier& one) : one_{one} {
      require(one_.running_.fetch_add(1) == 0, "no two callbacks of a notifier run concurrently");
      check();
    }
    ~running() {
      check();
      one_.running_.fetch_sub(1);
    }
    running(const running&) = delete;
    running& operator=(const running&) = delete;

   private:
    void check() const { require(!one_.owned_ || one_.armed_, "no callback runs after unregister"); }

    fuzzed_notifier& one_;
  };

  void on_signal(eventfd_ctx& ctx) {
    const running now{*this};
    switch (plan_.what) {
      case action::nothing:
        break;
      case action::signal:
        signal();
        break;
      case action::drain:
        drain(ctx);
        break;
      case action::unregister:
        account_for(notifier_.unregister());
        break;
      case action::unregister_other: {
        std::error_code refused;
        plan_.other->account_for(plan_.other->notifier_.unregister(refused));
        break;
      }
      case action::close:
        close_handle();
        break;
      case action::ask_too_much:
        ask_too_much(ctx);
    }
  }

  void on_release() {
    const running now{*this};
    ++releases_;
    if (plan_.release_signals) signal();
  }

  // Signals a limited number of times, because a cycle of signals would never end.
  void signal() {
    if (plan_.on == nullptr || fuel_.fetch_sub(1) <= 0) return;
    ++plan_.on->added;
    plan_.on->ctx->signal();
  }

  void drain(eventfd_ctx& ctx) {
    std::error_code ec;
    const auto taken = ctx.drain(ec);
    require(!ec, "a callback can drain its own eventfd");
    for (auto& efd : *efds_)
      if (efd.ctx.get() == &ctx) efd.taken += taken;
  }

  void ask_too_much(const eventfd_ctx& ctx) const {
    const auto refused = [](const std::error_code& ec) {
      require(ec == std::errc::resource_deadlock_would_occur || ec == std::errc::bad_file_descriptor,
              "a call that may block is refused in a callback", ec.value());
    };
    std::error_code ec;
    handle_.poll_fd(ec);
    refused(ec);
    handle_.stop_forwarding(ec);
    refused(ec);
    if (plan_.on->ctx.get() == &ctx) return;
    notifier never_registered{[](eventfd_ctx&) {}};
    never_registered.register_with(handle_, ec);
    refused(ec);
    plan_.on->ctx->drain(ec);
    refused(ec);
    if (plan_.on->may_block) handle_.read(ec);
    refused(ec);
  }

  plan plan_;
  std::array<fuzzed_eventfd, 3>* efds_ = nullptr;
  eventfd handle_;
  std::atomic<int> fuel_{0};
  std::atomic<int> registered_{0};
  std::atomic<int> by_us_{0};
  std::atomic<int> by_hup_{0};
  std::atomic<int> releases_{0};
  std::atomic<int> running_{0};
  // Not atomic: only the contract orders the owner's writes and the callbacks' reads, and ThreadSanitizer checks it.
  bool owned_ = false;
  bool armed_ = false;
  fuzzed_eventfd* where_ = nullptr;  // used by the owner only
  // The last member, so that it is destroyed first.
  notifier notifier_{[this](eventfd_ctx& ctx) { on_signal(ctx); }, [this] { on_release(); }};
};

}  // namespace doorbell::fuzz
