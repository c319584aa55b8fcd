// SPDX-License-Identifier: Apache-2.0
//
// bell_service: what an execution context knows of the watches in it, so that its shutdown can end them. Without it a
// coroutine that owns its eventfd, and is suspended in a wait on it, would own itself when the context goes; and a
// signaller would post to a context that is no more.
//
// Thread safety: add() and remove() may be called at once. shutdown() is the execution context's, when no thread runs it
// any more; signallers may still ring, until each watch is off its queue.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/intrusive/list.hpp>

#include <doorbell/base/mutex.hpp>

namespace doorbell::asio::detail {

class bell_service final : public boost::asio::execution_context::service {
 public:
  /// What has to end with the context.
  class client : public boost::intrusive::list_base_hook<> {
   public:
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    /// Called with no lock held, after the client has been taken off the list.
    virtual void shut_down() = 0;

   protected:
    client() = default;
    ~client() = default;
  };

  using key_type = bell_service;
  static inline boost::asio::execution_context::id id;

  explicit bell_service(boost::asio::execution_context& context) : service{context} {}

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
