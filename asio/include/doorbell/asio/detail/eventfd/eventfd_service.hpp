// SPDX-License-Identifier: Apache-2.0
//
// eventfd_service: the list of an execution context's waiters and watches, which its shutdown ends. Without the
// service, a coroutine that owns its eventfd and is suspended in a wait for it would own itself when the context is
// destroyed, and a signaller would post to a destroyed context.
//
// Thread safety: add() and remove() may be called concurrently. shutdown() is called by the execution context when no
// thread runs it any more; other threads may signal the eventfds until each waiter has left its wait queue.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/intrusive/list.hpp>

#include <doorbell/base/mutex.hpp>

namespace doorbell::asio::detail {

class eventfd_service final : public boost::asio::execution_context::service {
 public:
  /// An object that must end with the context.
  class client : public boost::intrusive::list_base_hook<> {
   public:
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    /// Called with no lock held, after the client has been removed from the list.
    virtual void shut_down() = 0;

   protected:
    client() = default;
    ~client() = default;
  };

  using key_type = eventfd_service;
  static inline boost::asio::execution_context::id id;

  explicit eventfd_service(boost::asio::execution_context& context) : service{context} {}

  void add(client& one) {
    const base::mutex_lock held{mutex_};
    clients_.push_back(one);
  }

  void remove(client& one) {
    const base::mutex_lock held{mutex_};
    if (one.is_linked()) clients_.erase(clients_.iterator_to(one));
  }

 private:
  void shutdown() override {
    while (auto* one = take_first()) one->shut_down();
  }

  // One at a time, because shutting one down may destroy others.
  [[nodiscard]] client* take_first() {
    const base::mutex_lock held{mutex_};
    if (clients_.empty()) return nullptr;
    auto* one = &clients_.front();
    clients_.pop_front();
    return one;
  }

  base::mutex mutex_;
  boost::intrusive::list<client> clients_ DOORBELL_GUARDED_BY(mutex_);
};

}  // namespace doorbell::asio::detail
