// SPDX-License-Identifier: Apache-2.0
//
// kernel_eventfd: an eventfd(2) of the program. The library has its own descriptor of it, so that the eventfd stays
// when the program closes the program's descriptor.
//
// Whether a write may block depends on O_NONBLOCK, which belongs to the open file: all processes that share the eventfd
// may change it. The library must not change the flag, and a single write to an eventfd cannot be made non-blocking
// (pwritev2(2) with RWF_NOWAIT is EOPNOTSUPP; /proc/self/fd gives no second open file of an eventfd). So there are two
// ways to add:
//
//   add_unless_blocking()  checks the flag before each write and writes only if it is set
//   add()                  may block, if another thread or process fills the eventfd after the check for room; for a
//                          thread that may be delayed
//
// If an eventfd was once found without the flag, it counts as blocking from then on: a process that toggles the flag
// could clear it between check and write.
//
// The check of O_NONBLOCK also compares the flags that cannot change. A file that was opened by its path has one flag
// more (O_LARGEFILE) than an eventfd, so the library does not write to it. This matters if the program has put such a
// file under both numbers, its own and that of the library's descriptor: a comparison of the two descriptors then finds
// the same file, and a verified_scope makes no further check.
//
// Thread safety: add() must not be called concurrently with itself; all other members may be called concurrently.
// descriptor() does not change after open().
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/private_fd.hpp>

namespace doorbell {

class kernel_eventfd {
 public:
  /// Errors: bad_file_descriptor; invalid_argument for other files; too_many_files_open.
  /// @return false if `ec` is set.
  [[nodiscard]] bool open(int fd, std::error_code& ec) noexcept;

  struct outcome {
    std::uint64_t added;
    bool may_block;  ///< a write of the rest may block; false: the rest does not fit
  };
  /// Adds as much of `n` as fits now, as long as O_NONBLOCK is set.
  [[nodiscard]] outcome add_unless_blocking(std::uint64_t n) noexcept;

  /// Adds as much of `n` as fits now; at most 1024 to a blocking eventfd if fdinfo cannot be read. Does not wait for
  /// room, unless others fill the eventfd between check and write.
  /// @return the amount added.
  [[nodiscard]] std::uint64_t add(std::uint64_t n) noexcept;

  /// Whether 1 more would fit now. Never blocks.
  [[nodiscard]] bool has_room() const noexcept { return has_room(std::chrono::milliseconds::zero()); }
  /// Waits until 1 more would fit, for at most `timeout`. @return false after the timeout.
  [[nodiscard]] bool has_room(std::chrono::milliseconds timeout) const noexcept;

  /// Whether a write that does not fit would block. Never blocks.
  [[nodiscard]] bool blocks() noexcept { return look_at_flags() == flags::blocking; }

  [[nodiscard]] const base::private_fd& descriptor() const noexcept { return fd_; }

 private:
  enum class flags { of_another_file, blocking, non_blocking };
  [[nodiscard]] flags look_at_flags() noexcept;
  [[nodiscard]] bool write(std::uint64_t n) const noexcept;
  [[nodiscard]] outcome add_by_halves(std::uint64_t n) noexcept;
  [[nodiscard]] std::uint64_t add_one_by_one(std::uint64_t n) const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> room() noexcept;

  base::private_fd fd_;
  int constant_flags_ = 0;
  base::private_fd info_;  // used by add(); opened when it first adds more than 1 to a blocking eventfd
  base::atomic<bool> is_seen_blocking_{false};  // relaxed: it orders no other memory
};

}  // namespace doorbell
