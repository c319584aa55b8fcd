// SPDX-License-Identifier: Apache-2.0
//
// file_service: the file operations of one execution context, whose loop submits and completes them. Its reactor waits
// for the aio::context's descriptor. Functions are posted directly to the execution context if that is known to be an
// io_context. Otherwise they are posted as handlers of a read from a descriptor that is never open: in this way Asio
// posts to the loop of any execution context, regardless of the program's executors.
//
// If memory is exhausted, noexcept functions end the program, since an operation must not be lost silently.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <chrono>
#include <cstddef>
#include <system_error>
#include <utility>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include <doorbell/asio/detail/file/busy_polling.hpp>
#include <doorbell/asio/detail/file/deferred_completion.hpp>
#include <doorbell/asio/detail/file/file_op.hpp>
#include <doorbell/asio/detail/file/file_proactor.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/detail/support/inline_executor.hpp>
#include <doorbell/base/mutex.hpp>

namespace doorbell::asio::detail {

class file_service final : public boost::asio::execution_context::service, public file_proactor {
 public:
  using key_type = file_service;
  static inline boost::asio::execution_context::id id;

  explicit file_service(boost::asio::execution_context& context)
      : service{context}, poster_{inline_executor{context}}, reactor_{inline_executor{context}} {}

  /// Called with the io_context of an executor of this execution context; null if the executor does not identify one.
  void set_loop(boost::asio::io_context* loop) {
    const base::mutex_lock held{mutex_};
    if (loop != nullptr) loop_ = loop;
  }

  [[nodiscard]] std::chrono::nanoseconds busy_poll() {
    const base::mutex_lock held{mutex_};
    return busy_poll_.at_most();
  }
  void set_busy_poll(std::chrono::nanoseconds at_most) {
    const base::mutex_lock held{mutex_};
    busy_poll_ = busy_polling{at_most};
  }

 private:
  using descriptor = boost::asio::posix::basic_stream_descriptor<inline_executor>;

  void post_turn() noexcept override DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    post([this](const auto&... /*result of the empty read*/) { turn_by_post(); });
  }
  bool is_to_look_again(bool moved) noexcept override DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return busy_poll_.goes_on(moved);
  }
  void post_deferred(file_op& ended) noexcept override DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    post(deferred_completion{ended});
  }

  template <class Function>
  // NOLINTNEXTLINE(bugprone-exception-escape): out of memory ends the program
  void post(Function function) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (loop_ != nullptr)
      boost::asio::post(loop_->get_executor(), std::move(function));
    else
      poster_.async_read_some(boost::asio::mutable_buffer{}, std::move(function));
  }

  // NOLINTNEXTLINE(bugprone-exception-escape): out of memory ends the program
  void watch(int readable, std::error_code& ec) noexcept override DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    error_code refused;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `refused`; what it returns depends on Asio's macros
    reactor_.assign(readable, refused);
    ec = refused;
    if (!ec) readable_ = readable;
  }

  // NOLINTNEXTLINE(bugprone-exception-escape): out of memory ends the program
  void ask_when_readable() noexcept override DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    reactor_.async_wait(descriptor::wait_read, [this](error_code) { turn_when_readable(); });
  }
  // NOLINTNEXTLINE(bugprone-exception-escape): of a descriptor that is open it cannot fail
  void stop_asking() noexcept override DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (reactor_.is_open()) reactor_.cancel();
  }

  void shutdown() override {
    let_go_of_descriptor();
    shut_down();
  }

  void notify_fork(boost::asio::execution_context::fork_event event) override {
    switch (event) {
      case boost::asio::execution_context::fork_prepare:
        let_go_of_descriptor();
        break;
      case boost::asio::execution_context::fork_parent:
        watch_again();
        break;
      case boost::asio::execution_context::fork_child:
        forget_descriptor();
        begin_anew_in_child();
        break;
    }
  }

  void let_go_of_descriptor() {
    const base::mutex_lock held{mutex_};
    if (reactor_.is_open()) reactor_.release();
  }
  // begin_anew_in_child() closes the descriptor. At the next fork its number may refer to another file.
  void forget_descriptor() {
    const base::mutex_lock held{mutex_};
    readable_ = -1;  // equivalent fault (constant): any negative number is none
  }
  void watch_again() {
    const base::mutex_lock held{mutex_};
    // equivalent fault (comparison): it is 0 only if no other number is free
    if (readable_ >= 0) reactor_.assign(readable_);
  }

  boost::asio::io_context* loop_ DOORBELL_GUARDED_BY(mutex_) = nullptr;  // null until it is known
  descriptor poster_ DOORBELL_GUARDED_BY(mutex_);                        // never open
  descriptor reactor_ DOORBELL_GUARDED_BY(mutex_);  // the aio::context's descriptor, which it does not own
  int readable_ DOORBELL_GUARDED_BY(mutex_) = -1;   // the same number; -1 until watch()
  busy_polling busy_poll_ DOORBELL_GUARDED_BY(mutex_);
};

}  // namespace doorbell::asio::detail
