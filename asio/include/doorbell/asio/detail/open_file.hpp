// SPDX-License-Identifier: Apache-2.0
//
// open_file: a descriptor that files and the operations on it share, and what is outstanding on it. It is closed when the
// last of them is gone: a worker may still be at a read whose file the program has closed, and would otherwise read from
// whatever got the number next.
//
// A stream has one position, so its operations go one after the other: the first is under way, the others stand in its lane.
// A pipe has none, and a lane for each direction.
//
// Thread safety: the lists belong to the file_proactor's mutex. The position may be read and set by anybody; who does so while
// operations are outstanding does not know which of them comes first, and nothing else happens.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <doorbell/aio_file.hpp>
#include <doorbell/asio/detail/errors.hpp>
#include <doorbell/asio/detail/file_op.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/unique_fd.hpp>

namespace doorbell::asio::detail {

class file_proactor;

/// From a file to the file_proactor of its execution context, or to null once
/// that has been destroyed: programs may keep a file longer.
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

  /// Null once the execution context has been destroyed.
  [[nodiscard]] file_proactor* service() const noexcept { return *service_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }
  [[nodiscard]] const aio::file_facts& facts() const noexcept { return facts_; }
  [[nodiscard]] bool is_directory() const noexcept { return facts_.type == S_IFDIR; }
  [[nodiscard]] bool has_position() const noexcept { return has_position_; }
  [[nodiscard]] std::uint64_t position() const noexcept { return position_.load(base::memory_order_relaxed); }
  void set_position(std::uint64_t at) noexcept { position_.store(at, base::memory_order_relaxed); }

  /// Where the next transfer is from; none in what has no position.
  [[nodiscard]] std::optional<std::uint64_t> offset() const noexcept {
    return has_position_ ? std::optional{position()} : std::nullopt;
  }

  /// As lseek(2), for the position that is ours. @return the new one.
  std::uint64_t seek(std::int64_t by, int whence, error_code& ec) noexcept {
    // The descriptor's own is where we last sought: it says what there is to say, and is not read by anybody.
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

  /// After a transfer of so many bytes from there. Who appends is at the end then, wherever the position was.
  void move_on(std::uint64_t from, std::size_t bytes, bool has_written) noexcept {
    const bool at_end = has_written && bytes > 0 && (::fcntl(descriptor(), F_GETFL) & O_APPEND) != 0;
    const auto end = at_end ? ::lseek(descriptor(), 0, SEEK_END) : -1;
    set_position(end >= 0 ? static_cast<std::uint64_t>(end) : from + bytes);
  }

  /// A key for operations that are bound to a cancellation slot, which no other operations of this file have.
  [[nodiscard]] std::uint64_t make_cancellation_key() noexcept {
    return last_key_.fetch_add(1, base::memory_order_relaxed) + 1;
  }
  /// Ends the operations with that key; none once the execution context has been destroyed.
  void cancel(std::uint64_t key);

  /// Closes the descriptor, that nobody else uses any more.
  void close(error_code& ec) noexcept { ec = ::close(descriptor_.release()) == 0 ? error_code{} : last_error(); }
  /// Gives it away, where the position is, as the program sees it.
  [[nodiscard]] int release() noexcept {
    if (has_position_) ::lseek(descriptor(), static_cast<off_t>(position()), SEEK_SET);
    return descriptor_.release();
  }

  // By file_proactor, its mutex held.

  /// Of a read that is to be carried out without entering: sets its offset.
  /// @return false: others of its stream are before it.
  [[nodiscard]] bool begin_inline(aio::iocb& read) const noexcept {
    if (!is_stream_) return true;
    if (!has_position_ || lanes_.front().is_busy) return false;
    read.offset = static_cast<std::int64_t>(position());
    return true;
  }
  void end_inline(const aio::iocb& read, std::int64_t res) noexcept {
    if (is_stream_ && res > 0) set_position(static_cast<std::uint64_t>(read.offset + res));
  }

  /// @return whether the operation may go now; otherwise it stands in its lane.
  [[nodiscard]] bool enter(file_op& op) noexcept {
    if (outstanding.empty()) kept_ = shared_from_this();
    outstanding.push_back(op);
    if (!is_in_lane(op)) return true;
    auto& its = lane_for(op);
    if (its.is_busy) {
      its.behind.push_back(op);
      return false;
    }
    its.is_busy = true;
    go(op);
    return true;
  }

  /// Of one that could go, and has ended. @return the one that goes now, or null.
  [[nodiscard]] file_op* leave(file_op& op) noexcept {
    forget(op);
    if (!is_in_lane(op)) return nullptr;
    if (has_position_) move_on(op.offset(), op.bytes(), op.use() == file_use::writes);
    auto& its = lane_for(op);
    its.is_busy = !its.behind.empty();
    if (!its.is_busy) return nullptr;
    auto& next = its.behind.front();
    its.behind.pop_front();
    go(next);
    return &next;
  }

  /// Of one that stands in a lane.
  void leave_lane(file_op& waiting) noexcept {
    forget(waiting);
    auto& its = lane_for(waiting);
    its.behind.erase(its.behind.iterator_to(waiting));
  }

  file_ops_of_file outstanding;

 private:
  struct lane {
    bool is_busy = false;
    file_op_queue behind;
  };

  // The last one takes along what kept the file.
  void forget(file_op& ended) noexcept {
    outstanding.erase(outstanding.iterator_to(ended));
    ended.file = nullptr;
    if (outstanding.empty()) ended.kept = std::move(kept_);
  }

  [[nodiscard]] bool is_in_lane(const file_op& op) const noexcept { return is_stream_ && op.use() != file_use::syncs; }
  [[nodiscard]] lane& lane_for(const file_op& op) noexcept {
    return lanes_[!has_position_ && op.use() == file_use::writes ? 1 : 0];
  }
  void go(file_op& op) const noexcept { op.set_offset(has_position_ ? position() : 0); }

  const proactor_link service_;
  base::unique_fd descriptor_;
  const aio::file_facts facts_;
  const bool is_stream_;
  bool has_position_ = false;  // constant after construction
  base::atomic<std::uint64_t> position_{0};
  base::atomic<std::uint64_t> last_key_{0};
  std::array<lane, 2> lanes_;
  std::shared_ptr<open_file> kept_;  // itself, while something is outstanding
};

}  // namespace doorbell::asio::detail
