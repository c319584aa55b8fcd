// SPDX-License-Identifier: Apache-2.0
//
// file_op: one asynchronous operation on a file, from its initiation to its handler. handler_op.hpp describes its
// memory. Posts and waits of the file_service are outstanding work of the I/O object's loop. The operation contains the
// request and its iovecs, so its address does not change while it is in flight.
//
// Thread safety: not thread-safe. The operation is owned by the initiating function, then by the lists of the
// file_proactor, under its mutex, then by the thread that has removed it from the list.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <poll.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/intrusive/list.hpp>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/asio/detail/file/file_buffers.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/detail/support/handler_op.hpp>

namespace doorbell::asio::detail {

class file_proactor;
class open_file;

enum class file_use { reads, writes, syncs };

/// The result of an operation, and the number of bytes that it has transferred.
struct file_result {
  error_code ec;
  std::size_t bytes = 0;
};

/// @param res of the request's event. @param asks_for_nothing whether the request transfers no bytes.
[[nodiscard]] inline file_result result_of(file_use use, std::int64_t res, bool asks_for_nothing) noexcept {
  if (res < 0) return {{static_cast<int>(-res), boost::system::system_category()}};
  if (res == 0 && use == file_use::reads && !asks_for_nothing) return {boost::asio::error::eof};
  return {{}, use != file_use::syncs ? static_cast<std::size_t>(res) : 0};
}

class file_op {
 public:
  using value_type = std::size_t;

  file_op(const file_op&) = delete;
  file_op& operator=(const file_op&) = delete;

  /// The state: queued behind another operation of its stream, waiting to be submitted, or in flight.
  enum class place { stream_queue, ready, in_flight };

  [[nodiscard]] aio::iocb& request() noexcept { return request_; }
  [[nodiscard]] file_use use() const noexcept { return use_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return static_cast<std::uint64_t>(request_.offset); }
  void set_offset(std::uint64_t from) noexcept { request_.offset = static_cast<std::int64_t>(from); }
  [[nodiscard]] bool asks_for_nothing() const noexcept { return use_ != file_use::syncs && request_.nbytes == 0; }
  /// Shared by the operations of its file that are bound to one cancellation slot (slot_canceller.hpp); 0 if it is
  /// bound to none.
  [[nodiscard]] std::uint64_t cancellation_key() const noexcept { return cancellation_key_; }

  /// The number of bytes transferred.
  [[nodiscard]] std::size_t bytes() const noexcept { return result_.bytes; }

  /// Sets the result. @param res of the request's event.
  void complete(std::int64_t res) noexcept { result_ = result_of(use_, res, asks_for_nothing()); }

  /// Called by a cancel that finds the operation in flight. The operation then ends with -ECANCELED instead of
  /// waiting for the file again, or transferring after a wait. If the engine cannot stop a transfer, the operation ends
  /// with its result, unless this is -EAGAIN.
  void ask_for_end() noexcept { is_to_end_ = true; }

  /// For files with facts().does_not_block. Decides whether the operation continues after this result. If so, its
  /// request has been replaced by the next one: after -EAGAIN a poll for the file to become ready, and after that poll
  /// the transfer again.
  /// @param[in,out] res the result of the request; -ECANCELED if the operation ends because of a cancel.
  [[nodiscard]] bool goes_on(std::int64_t& res) noexcept {
    const bool is_over = polls_ ? res < 0 : res != -EAGAIN;
    if (is_over) return false;
    if (is_to_end_ || res == 0) {  // a poll that was cancelled has the result 0
      res = -ECANCELED;
      return false;
    }
    polls_ ? transfer_again() : wait_until_ready();
    return true;
  }

  void fail(error_code why) noexcept { result_ = {why}; }

  /// Frees the operation and posts its handler, with the result.
  virtual void post() = 0;
  /// The same for a caller that the loop runs as one of its handlers: the handler may be called before this returns.
  virtual void dispatch() = 0;
  /// Frees the operation and destroys its handler without calling it.
  virtual void destroy() noexcept = 0;

  /// Memory for the Asio operation that passes the ended operation through the loop (deferred_completion.hpp).
  class carrier {
   public:
    static constexpr std::size_t size = 256;
    [[nodiscard]] void* data() noexcept { return bytes_.data(); }

   private:
    alignas(std::max_align_t) std::array<std::byte, size> bytes_;
  };

  // Used by the file_proactor.
  carrier carried_in;
  boost::intrusive::list_member_hook<> queue_hook;
  boost::intrusive::list_member_hook<> file_hook;
  place where = place::stream_queue;
  open_file* file = nullptr;        ///< null after the operation has ended
  std::shared_ptr<open_file> kept;  ///< set when the file's last operation ends; released with no lock held
  file_proactor* deferred_by = nullptr;

 protected:
  file_op(file_use use, std::uint64_t cancellation_key) noexcept : use_{use}, cancellation_key_{cancellation_key} {
    request_.data = this;
  }
  ~file_op() = default;

  [[nodiscard]] error_code result() const noexcept { return result_.ec; }
  [[nodiscard]] value_type value() const noexcept { return result_.bytes; }

 private:
  void transfer_again() noexcept {
    static_cast<aio::iocb_abi&>(request_) = transfer_;
    polls_ = false;
  }
  void wait_until_ready() noexcept {
    transfer_ = request_;
    polls_ = true;
    auto& poll = static_cast<aio::iocb_abi&>(request_);
    poll = aio::prep_poll(request_.fildes, use_ == file_use::reads ? POLLIN : POLLOUT);
    poll.data = this;
  }

  const file_use use_;
  const std::uint64_t cancellation_key_;
  aio::iocb request_;
  aio::iocb_abi transfer_;  // the transfer, while the request polls the file
  bool polls_ = false;
  bool is_to_end_ = false;
  file_result result_;
};

using file_op_queue = boost::intrusive::list<
    file_op, boost::intrusive::member_hook<file_op, boost::intrusive::list_member_hook<>, &file_op::queue_hook>>;
using file_ops_of_file = boost::intrusive::list<
    file_op, boost::intrusive::member_hook<file_op, boost::intrusive::list_member_hook<>, &file_op::file_hook>>;

/// The request of a read that is executed inline. Has the members of file_op that prepare a request.
/// @tparam Vectors the greatest number of buffers.
template <std::size_t Vectors>
class inline_read {
 public:
  [[nodiscard]] aio::iocb& request() noexcept { return request_; }
  [[nodiscard]] std::array<iovec, Vectors>& vectors() noexcept { return vectors_; }
  void set_offset(std::uint64_t from) noexcept { request_.offset = static_cast<std::int64_t>(from); }

 private:
  aio::iocb request_;
  std::array<iovec, Vectors> vectors_;
};

template <file_use Use, class Handler>
using file_completion = bound_handler<Use != file_use::syncs, Handler, std::size_t>;

/// @tparam Vectors the greatest number of buffers.
template <file_use Use, std::size_t Vectors, class Handler, class Executor>
class file_op_for final : public handler_op<file_op_for<Use, Vectors, Handler, Executor>, file_op,
                                            Use != file_use::syncs, Handler, Executor, no_work> {
  using base = handler_op<file_op_for, file_op, Use != file_use::syncs, Handler, Executor, no_work>;
  friend base;

 public:
  [[nodiscard]] std::array<iovec, Vectors>& vectors() noexcept { return vectors_; }

 private:
  file_op_for(Handler&& handler, const Executor& executor, std::uint64_t key)
      : base{std::move(handler), executor, Use, key} {}

  std::array<iovec, Vectors> vectors_;  // the buffers that are not empty
};

}  // namespace doorbell::asio::detail
