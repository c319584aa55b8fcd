// SPDX-License-Identifier: Apache-2.0
//
// kernel_eventfd: an eventfd(2) of the program, held by a descriptor of the library, so that it stays when the program
// closes its own.
//
// Thread safety: none; guarded by its owner. descriptor() does not change after open().
#pragma once

#include <cstdint>
#include <optional>
#include <system_error>

#include <doorbell/base/private_fd.hpp>

namespace doorbell {

class kernel_eventfd {
 public:
  /// Errors: bad_file_descriptor; invalid_argument for other files; too_many_files_open.
  /// @return false if `ec` is set.
  [[nodiscard]] bool open(int fd, std::error_code& ec) noexcept;

  /// Adds as much of `n` as fits now, and does not wait for room.
  /// @return how much was added.
  [[nodiscard]] std::uint64_t add(std::uint64_t n) noexcept;

  [[nodiscard]] const base::private_fd& descriptor() const noexcept { return fd_; }

 private:
  [[nodiscard]] bool may_block() noexcept;
  [[nodiscard]] bool write(std::uint64_t n) const noexcept;
  [[nodiscard]] bool has_room() const noexcept;
  [[nodiscard]] std::uint64_t add_by_halves(std::uint64_t n) const noexcept;
  [[nodiscard]] std::uint64_t add_one_by_one(std::uint64_t n) const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> room() noexcept;

  base::private_fd fd_;
  base::private_fd info_;  // of a blocking eventfd, from the first time that several are added
  unsigned believed_ = 0;  // how many writes are taken not to block
};

}  // namespace doorbell
