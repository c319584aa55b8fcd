// SPDX-License-Identifier: Apache-2.0
//
// source_watch: makes a loop wait for a kernel descriptor, and signal an eventfd with each count that is read from it.
//
//   waits for counts --a count that fits--> signals; waits for counts
//                    --a count that does not fit--> waits for room --> signals the part that fits, and so on
//                    --hang-up, or an error--> over
//
// A count may be delivered in parts, since only the sum matters. While a part waits for room, nothing is read, so that
// the source fills up and its writers notice that the readers do not keep up.
//
// Locks, outermost first: mutex_, then the locks of signalling and waiting: the eventfd's queue lock, and
// eventfd_waiter's mutex. Callbacks of the eventfd run with mutex_ held. The I/O object refuses calls from them that
// would take mutex_.
//
// Lifetime: shared by the I/O object, which closes it, and by the handler that waits. The memory may outlive the
// execution context, whose shutdown makes it release its descriptors.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/eventfd/eventfd_service.hpp>
#include <doorbell/asio/detail/support/context_of.hpp>
#include <doorbell/asio/detail/sync/count_source.hpp>
#include <doorbell/asio/eventfd.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/thread_annotations.hpp>
#include <doorbell/eventfd.hpp>

namespace doorbell::asio::detail {

/// A source_watch without the type of its executor, since the I/O object may be moved to an object of another type.
class watched_source {
 public:
  using error_code = boost::system::error_code;

  watched_source(const watched_source&) = delete;
  watched_source& operator=(const watched_source&) = delete;

  /// An eventfd whose count is above 0 after the watching has ended.
  [[nodiscard]] const doorbell::eventfd& over() const noexcept { return over_; }
  /// The reason why the watching has ended.
  [[nodiscard]] virtual error_code why() = 0;
  [[nodiscard]] virtual int source() = 0;
  /// Ends the watching, if it has not ended. The eventfd is not signalled after that.
  /// @return the source, whose ownership passes to the caller.
  [[nodiscard]] virtual count_source close() = 0;

 protected:
  watched_source() = default;
  ~watched_source() = default;

 private:
  const doorbell::eventfd over_;
};

template <class Executor>
class source_watch final : public std::enable_shared_from_this<source_watch<Executor>>,
                           public eventfd_service::client,
                           public watched_source {
 public:
  /// Watches nothing before start().
  source_watch(const Executor& executor, doorbell::eventfd&& efd)
      : service_{boost::asio::use_service<eventfd_service>(context_of(executor))},
        executor_{executor},
        efd_{std::move(efd)},
        readiness_{std::in_place, executor} {}

  /// Takes ownership of `source`, unless it fails. Errors: as count_source::make_readiness(); those of the reactor.
  void start(int source, error_code& ec) {
    auto readiness = count_source::make_readiness(source, ec);
    if (ec) return;
    const base::mutex_lock held{mutex_};
    readiness_->assign(readiness.get(), ec);
    if (ec) return;
    static_cast<void>(readiness.release());
    service_.add(*this);
    source_ = count_source{source};
    wait();
  }

  [[nodiscard]] error_code why() override {
    const base::mutex_lock held{mutex_};
    return why_;
  }

  [[nodiscard]] int source() override {
    const base::mutex_lock held{mutex_};
    return source_.fd();
  }

  [[nodiscard]] count_source close() override {
    auto last = doorbell::eventfd::closed();
    const base::mutex_lock held{mutex_};
    // equivalent fault (errno): the waits have been closed before and do not read it
    if (is_on()) last = end(boost::asio::error::operation_aborted);
    return std::move(source_);
  }

 private:
  // A semaphore returns its counts one by one. The remaining counts are read in the next call of look().
  static constexpr int counts_in_a_look = 64;

  [[nodiscard]] bool is_on() const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return readiness_.has_value(); }

  void wait() DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    auto look = [self = this->shared_from_this()](error_code ec) { self->look(ec); };
    if (rest_ == 0) {
      readiness_->async_wait(boost::asio::posix::descriptor_base::wait_read, std::move(look));
      return;
    }
    if (!room_) room_.emplace(executor_, efd_, listen_only);
    room_->async_wait(basic_eventfd<Executor>::wait_write, std::move(look));
  }

  void look(error_code ec) {
    auto last = doorbell::eventfd::closed();
    const base::mutex_lock held{mutex_};
    // equivalent fault (dropped): a read of the closed source fails, and the end is repeated without effect
    if (!is_on()) return;
    if (!ec) move_counts(ec);
    if (!ec) return wait();
    last = end(ec);
  }

  void move_counts(error_code& ec) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    signal_what_fits();
    // equivalent fault (comparison): one more count is read in a turn
    for (int i = 0; i < counts_in_a_look && rest_ == 0; ++i) {
      rest_ = source_.read(ec);
      if (ec) break;
      signal_what_fits();
    }
    if (ec == boost::asio::error::would_block) ec = {};
  }

  // Signals as much of rest_ as fits. Other threads may signal the same eventfd concurrently, so there may be less room
  // than `count` shows.
  void signal_what_fits() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (rest_ > 0) {
      std::error_code ec;
      const auto count = efd_.info(ec).count;
      if (count > doorbell::eventfd::max) return signal_rest();
      const auto part = std::min(rest_, doorbell::eventfd::max - count);
      if (part == 0) return;
      efd_.write_for(part, std::chrono::seconds{0}, ec);
      if (!ec) rest_ -= part;
    }
  }

  // The eventfd has overflowed, or the watching ends before there is room. Signals the rest, so that readers see the
  // overflow.
  void signal_rest() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::error_code ec;
    efd_.signal(std::exchange(rest_, 0), ec);
  }

  /// @return the handle, to be closed after mutex_ has been released: the hang-up calls callbacks.
  [[nodiscard]] doorbell::eventfd end(error_code why) DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    service_.remove(*this);
    why_ = why;
    over().signal();
    return let_go();
  }

  [[nodiscard]] doorbell::eventfd let_go() DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    readiness_.reset();
    room_.reset();
    if (rest_ > 0) signal_rest();
    return std::move(efd_);
  }

  void shut_down() override {
    const auto self = this->shared_from_this();
    auto last = doorbell::eventfd::closed();
    const base::mutex_lock held{mutex_};
    last = let_go();
  }

  eventfd_service& service_;
  const Executor executor_;

  base::mutex mutex_;
  count_source source_ DOORBELL_GUARDED_BY(mutex_);
  doorbell::eventfd efd_ DOORBELL_GUARDED_BY(mutex_);
  std::uint64_t rest_ DOORBELL_GUARDED_BY(mutex_) = 0;  // has been read and not been signalled yet
  error_code why_ DOORBELL_GUARDED_BY(mutex_);

  // The objects that the loop waits for. readiness_ exists until the watching ends.
  std::optional<boost::asio::posix::basic_stream_descriptor<Executor>> readiness_ DOORBELL_GUARDED_BY(mutex_);
  std::optional<basic_eventfd<Executor>> room_ DOORBELL_GUARDED_BY(mutex_);
};

}  // namespace doorbell::asio::detail
