// SPDX-License-Identifier: Apache-2.0
//
// kernel_eventfd: an eventfd(2) of the program, held by a descriptor of the library, so that it stays when the program
// closes its own.
//
// Whether a write may block depends on O_NONBLOCK, which belongs to the open file: all that share the eventfd may
// change it, other processes as well. The flag is not ours to change, and no write to an eventfd takes flags of its own
// (pwritev2(2) with RWF_NOWAIT is EOPNOTSUPP; /proc/self/fd gives no second open file of an eventfd). So there are two
// ways to add:
//
//   add_unless_blocking()  looks at the flag before each write and writes only if it is set
//   add()                  may block, if another thread or process fills the eventfd after the look at its room; it is for
//                          a thread that may be stopped
//
// An eventfd that was once found without the flag is not trusted again: who toggles it cannot wait for the moment
// between look and write.
//
// The look at the flag also verifies the flags that cannot be changed. A file that was opened by its path has another one
// (O_LARGEFILE). So in a verified_scope, which a comparison with the program's own descriptor is enough for, no file is
// written to that the program has put in the places of both descriptors.
//
// Thread safety: add() is called by one thread at a time; all else may be called concurrently. descriptor() does not
// change after open().
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

  /// Adds as much of `n` as fits now; does not wait for room, unless it is taken by others in between.
  /// @return how much was added.
  [[nodiscard]] std::uint64_t add(std::uint64_t n) noexcept;

  /// Whether one more would fit now. Never blocks.
  [[nodiscard]] bool has_room() const noexcept { return has_room(std::chrono::milliseconds::zero()); }
  /// The same; waits for it.
  [[nodiscard]] bool has_room(std::chrono::milliseconds timeout) const noexcept;

  /// Whether a write that does not fit would wait for room, now.
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
  base::private_fd info_;  // of add(), from the first time that several are added to a blocking one
  base::atomic<bool> is_seen_blocking_{false};  // relaxed: it says nothing of other memory
};

}  // namespace doorbell
