// SPDX-License-Identifier: Apache-2.0
//
// open_file: a descriptor that is shared by a file and its operations, and the list of outstanding operations. The
// descriptor is closed when the last of them releases it. io_uring may cancel an operation whose thread has ended, and
// the engine then starts it again by the descriptor's number, which must not refer to another file by then.
//
// A stream has one position, so its operations run one after the other: one is under way, the others wait in the stream
// queue. A stream without a position, such as a pipe, has one stream queue for each direction.
//
// Thread safety: the file_proactor's mutex protects the lists. Any thread may read and set the position. If operations
// are outstanding, the order of such a call and the operations is unspecified, but there is no data race.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <doorbell/aio_file.hpp>
#include <doorbell/asio/detail/file/file_op.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/unique_fd.hpp>

namespace doorbell::asio::detail {

class file_proactor;

/// Points to the file_proactor of the file's execution context, or to null after that has been destroyed: files may
/// outlive it.
using proactor_link = std::shared_ptr<file_proactor*>;

/// How a file is read and written.
enum class file_access { random, stream };

class open_file : public std::enable_shared_from_this<open_file> {
 public:
  open_file(proactor_link service, int fd, const aio::file_facts& facts, file_access access) noexcept
      : service_{std::move(service)}, descriptor_{fd}, facts_{facts}, is_stream_{access == file_access::stream} {
    const auto at = is_stream_ ? ::lseek(fd, 0, SEEK_CUR) : -1;
    has_position_ = at >= 0;
    if (has_position_) set_position(static_cast<std::uint64_t>(at));
  }
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  ~open_file() = default;

  /// Null after the execution context has been destroyed.
  [[nodiscard]] file_proactor* service() const noexcept { return *service_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }
  [[nodiscard]] const aio::file_facts& facts() const noexcept { return facts_; }
  [[nodiscard]] bool is_directory() const noexcept { return facts_.type == S_IFDIR; }
  [[nodiscard]] bool has_position() const noexcept { return has_position_; }
  [[nodiscard]] std::uint64_t position() const noexcept { return position_.load(base::memory_order_relaxed); }
  void set_position(std::uint64_t at) noexcept { position_.store(at, base::memory_order_relaxed); }

  /// The offset of the next transfer; none if the file has no position.
  [[nodiscard]] std::optional<std::uint64_t> offset() const noexcept {
    return has_position_ ? std::optional{position()} : std::nullopt;
  }

  /// As lseek(2), for the position of this object. @return the new position.
  std::uint64_t seek(std::int64_t by, int whence, error_code& ec) noexcept {
    // lseek(2) on the descriptor reports the errors. No transfer uses the descriptor's own position.
    if (has_position_ && whence == SEEK_CUR) {
      // A sum that does not fit is negative, and lseek(2) refuses it.
      by = static_cast<std::int64_t>(static_cast<std::uint64_t>(by) + position());
      whence = SEEK_SET;
    }
    const auto at = ::lseek(descriptor(), by, whence);
    ec = at >= 0 ? error_code{} : last_error();
    if (ec) return 0;
    set_position(static_cast<std::uint64_t>(at));
    return position();
  }

  /// Advances the position after a transfer. With O_APPEND, a write leaves the position at the end of the file,
  /// whatever it was before.
  void move_on(std::uint64_t from, std::size_t bytes, bool has_written) noexcept {
    const bool at_end = has_written && bytes > 0 && (::fcntl(descriptor(), F_GETFL) & O_APPEND) != 0;
    const auto end = at_end ? ::lseek(descriptor(), 0, SEEK_END) : -1;
    set_position(end >= 0 ? static_cast<std::uint64_t>(end) : from + bytes);
  }

  /// A key for the operations that are bound to one cancellation slot. It is unique among the operations of this file.
  [[nodiscard]] std::uint64_t make_cancellation_key() noexcept {
    return last_key_.fetch_add(1, base::memory_order_relaxed) + 1;
  }
  /// Cancels the operations with that key. Has no effect after the execution context has been destroyed.
  void cancel(std::uint64_t key);

  /// Closes the descriptor. No operation may use it any more.
  void close(error_code& ec) noexcept { ec = ::close(descriptor_.release()) == 0 ? error_code{} : last_error(); }
  /// Gives up ownership of the descriptor, after setting the descriptor's own position to the position of this object.
  [[nodiscard]] int release() noexcept {
    if (has_position_) ::lseek(descriptor(), static_cast<off_t>(position()), SEEK_SET);
    return descriptor_.release();
  }

  // Called by file_proactor with its mutex held.

  /// Sets the offset of a read that is executed inline, without enter().
  /// @return false if the read cannot be executed inline: an earlier operation of its stream is outstanding, or the
  /// stream has no position.
  [[nodiscard]] bool begin_inline(aio::iocb& read) const noexcept {
    if (!is_stream_) return true;
    if (!has_position_ || queues_.front().is_busy) return false;
    read.offset = static_cast<std::int64_t>(position());
    return true;
  }
  void end_inline(const aio::iocb& read, std::int64_t res) noexcept {
    if (is_stream_ && res > 0) set_position(static_cast<std::uint64_t>(read.offset + res));
  }

  /// @return whether the operation may be submitted now; otherwise it waits in its stream queue.
  [[nodiscard]] bool enter(file_op& op) noexcept {
    if (outstanding.empty()) kept_ = shared_from_this();
    outstanding.push_back(op);
    if (!is_queued(op)) return true;
    auto& its = queue_for(op);
    if (its.is_busy) {
      its.behind.push_back(op);
      return false;
    }
    its.is_busy = true;
    take_position(op);
    return true;
  }

  /// Called when an operation that was ready or in flight has ended. @return the next operation of its stream queue,
  /// which may be submitted now, or null.
  [[nodiscard]] file_op* leave(file_op& op) noexcept {
    forget(op);
    if (!is_queued(op)) return nullptr;
    if (has_position_) move_on(op.offset(), op.bytes(), op.use() == file_use::writes);
    auto& its = queue_for(op);
    its.is_busy = !its.behind.empty();
    if (!its.is_busy) return nullptr;
    auto& next = its.behind.front();
    its.behind.pop_front();
    take_position(next);
    return &next;
  }

  /// Removes an operation from its stream queue.
  void leave_queue(file_op& waiting) noexcept {
    forget(waiting);
    auto& its = queue_for(waiting);
    its.behind.erase(its.behind.iterator_to(waiting));
  }

  file_ops_of_file outstanding;

 private:
  struct stream_queue {
    bool is_busy = false;
    file_op_queue behind;
  };

  // Moves the self-reference to the last operation, so that the file is released with no lock held.
  void forget(file_op& ended) noexcept {
    outstanding.erase(outstanding.iterator_to(ended));
    // equivalent fault (assignment): no code reads it after the end
    ended.file = nullptr;
    if (outstanding.empty()) ended.kept = std::move(kept_);
  }

  [[nodiscard]] bool is_queued(const file_op& op) const noexcept { return is_stream_ && op.use() != file_use::syncs; }
  [[nodiscard]] stream_queue& queue_for(const file_op& op) noexcept {
    return queues_[!has_position_ && op.use() == file_use::writes ? 1 : 0];
  }
  void take_position(file_op& op) const noexcept { op.set_offset(has_position_ ? position() : 0); }

  const proactor_link service_;
  base::unique_fd descriptor_;
  const aio::file_facts facts_;
  const bool is_stream_;
  bool has_position_ = false;  // constant after construction
  base::atomic<std::uint64_t> position_{0};
  base::atomic<std::uint64_t> last_key_{0};
  std::array<stream_queue, 2> queues_;
  std::shared_ptr<open_file> kept_;  // refers to *this while operations are outstanding
};

}  // namespace doorbell::asio::detail
