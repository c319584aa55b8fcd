// SPDX-License-Identifier: Apache-2.0
//
// watched_bell: an eventfd with a notifier, and the bodies of threads that use them; for scenarios.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include <doorbell/base/atomic.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "scenario.hpp"

namespace doorbell::model {

class watched_bell {
 public:
  enum class at_first { registered, not_registered };

  explicit watched_bell(at_first how = at_first::registered, notifier::sharing shared = notifier::sharing::every)
      : watcher_{std::make_unique<notifier>([this](eventfd_ctx&) { on_signal(); }, [this] { on_release(); })} {
    if (how == at_first::registered) watcher_->register_with(bell_, shared);
  }

  // The bodies of threads.

  /// A thread to signal, with a reference of its own, which it drops when it has.
  [[nodiscard]] auto signaller(std::uint64_t n = 1) {
    return [n, mine = bell_.context()]() mutable {
      mine->signal(n);
      mine.reset();
    };
  }
  void close() { bell_.close(); }
  /// Unregisters, and frees the notifier: it may not be called from now on.
  void unregister() {
    finish(watcher_->unregister());
    watcher_.reset();
  }
  /// The same, draining. @return the count that was read.
  std::uint64_t unregister_and_read() {
    std::uint64_t count = 0;
    std::error_code ec;
    finish(watcher_->unregister_and_read(count, ec));
    watcher_.reset();
    return count;
  }
  /// Unregisters, and leaves the notifier there, for others who do the same.
  decoupled try_unregister() {
    const auto outcome = watcher_->unregister();
    if (outcome != decoupled::not_registered) finish(outcome);
    return outcome;
  }
  /// A thread to register, with a handle of its own, which it closes when it has.
  [[nodiscard]] auto registrar() {
    return [this, mine = bell_]() mutable {
      ready_ = watcher_->register_with(mine);
      mine.close();
    };
  }

  // The results; to be called when the threads have ended.

  [[nodiscard]] int calls() const noexcept { return calls_; }
  [[nodiscard]] int releases() const noexcept { return releases_; }
  /// The result of register_with().
  [[nodiscard]] bool was_ready() const noexcept { return ready_; }
  [[nodiscard]] decoupled outcome() const noexcept { return outcome_; }
  [[nodiscard]] eventfd& bell() noexcept { return bell_; }
  [[nodiscard]] notifier& watcher() noexcept { return *watcher_; }

 private:
  // Plain numbers: callbacks run under the queue's lock, and are done when unregister() returns.
  void on_signal() {
    REQUIRE(releases_ == 0);
    ++calls_;
  }
  void on_release() {
    // In two steps, so that the loser of the race has time to return if it does not wait.
    releasing_.store(true);
    ++releases_;
  }
  void finish(decoupled outcome) {
    outcome_ = outcome;
    REQUIRE(outcome != decoupled::not_registered);
    REQUIRE(releases_ == (outcome == decoupled::by_hup ? 1 : 0));
  }

  eventfd bell_;
  int calls_ = 0;
  int releases_ = 0;
  bool ready_ = false;
  decoupled outcome_ = decoupled::not_registered;
  base::atomic<bool> releasing_{false};
  std::unique_ptr<notifier> watcher_;
};

}  // namespace doorbell::model
