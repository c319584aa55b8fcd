// SPDX-License-Identifier: Apache-2.0
//
// watched_eventfd: an eventfd with a notifier, and bodies of threads that use them, for scenarios.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include <doorbell/base/atomic.hpp>
#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "scenario.hpp"

namespace doorbell::model {

class watched_eventfd {
 public:
  enum class at_first { registered, not_registered };

  explicit watched_eventfd(at_first how = at_first::registered, notifier::sharing shared = notifier::sharing::every)
      : watcher_{std::make_unique<notifier>([this](eventfd_ctx&) { on_signal(); }, [this] { on_release(); })} {
    if (how == at_first::registered) watcher_->register_with(efd_, shared);
  }

  // The bodies of threads.

  /// The body of a thread that signals. It has its own reference, and drops it after the signal.
  [[nodiscard]] auto signaller(std::uint64_t n = 1) {
    return [n, mine = efd_.context()]() mutable {
      mine->signal(n);
      mine.reset();
    };
  }
  void close() { efd_.close(); }
  /// Unregisters, and frees the notifier. From now on a callback would be a use after free.
  void unregister() {
    finish(watcher_->unregister());
    watcher_.reset();
  }
  /// The same with unregister_and_read(). @return the count that was read.
  std::uint64_t unregister_and_read() {
    std::uint64_t count = 0;
    std::error_code ec;
    finish(watcher_->unregister_and_read(count, ec));
    watcher_.reset();
    return count;
  }
  /// Unregisters, and keeps the notifier, because other threads unregister it, too.
  decoupled try_unregister() {
    const auto outcome = watcher_->unregister();
    if (outcome != decoupled::not_registered) finish(outcome);
    return outcome;
  }
  /// The body of a thread that registers. It has its own handle, and closes it after the registration.
  [[nodiscard]] auto registrar() {
    return [this, mine = efd_]() mutable {
      ready_ = watcher_->register_with(mine);
      mine.close();
    };
  }

  // The results. Call these when the threads have ended.

  [[nodiscard]] int calls() const noexcept { return calls_; }
  [[nodiscard]] int releases() const noexcept { return releases_; }
  /// The result of register_with().
  [[nodiscard]] bool was_ready() const noexcept { return ready_; }
  [[nodiscard]] decoupled outcome() const noexcept { return outcome_; }
  [[nodiscard]] eventfd& efd() noexcept { return efd_; }
  [[nodiscard]] notifier& watcher() noexcept { return *watcher_; }

 private:
  // The numbers are plain variables: callbacks run under the queue's lock, and have returned when unregister() returns.
  void on_signal() {
    REQUIRE(releases_ == 0);
    ++calls_;
  }
  void on_release() {
    // The store is a step of its own: a call that loses the race and does not wait can return before the increment.
    releasing_.store(true);
    ++releases_;
  }
  void finish(decoupled outcome) {
    outcome_ = outcome;
    REQUIRE(outcome != decoupled::not_registered);
    REQUIRE(releases_ == (outcome == decoupled::by_hup ? 1 : 0));
  }

  eventfd efd_;
  int calls_ = 0;
  int releases_ = 0;
  bool ready_ = false;
  decoupled outcome_ = decoupled::not_registered;
  base::atomic<bool> releasing_{false};
  std::unique_ptr<notifier> watcher_;
};

}  // namespace doorbell::model
