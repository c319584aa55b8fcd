// SPDX-License-Identifier: Apache-2.0
//
// private_fd: owns a descriptor of the library itself. The program may close descriptors that it does not know
// (closefrom(3), close_range(2), a loop), and then use their numbers for files of its own.
//
// The number is one that programs rarely use (0, 1 or 2 only if no other is free). Before the library writes to it or
// closes it, is_ours() checks whether the number still refers to the same file:
//   - no younger private_fd has the number; a table of all numbers below 4096 shows this without a system call;
//   - the file has a mark that programs do not set. The mark is the signal of F_SETSIG, which has an effect only
//     together with O_ASYNC. Many kinds of files (eventfd, epoll) share one inode, so fstat(2) cannot distinguish them.
// A duplicate of a descriptor of the program is not marked, because the mark would also apply to the program's file. It
// is added instead, without events, to an epoll of the library that no thread waits for. An epoll identifies a file by
// its number and by the file itself, so EPOLL_CTL_MOD fails if the number refers to another file. For files that cannot
// be polled, the device and the inode must be the same.
//
// Thread safety: as of an int. is_ours() and the use that follows are not one atomic step. A program that closes
// unknown descriptors while another thread uses them has this race with every library.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <sys/types.h>

#include <cstdint>
#include <utility>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::base {

class private_fd {
 public:
  private_fd() noexcept = default;
  /// Takes over the only descriptor of a file and moves it to a high number, or keeps its number if none is free.
  /// Empty if `fd` is. Does not change errno.
  explicit private_fd(unique_fd fd) noexcept : private_fd{std::move(fd), true, lowest_number()} {}
  /// The same, but keeps the number, except 0, 1 and 2: for a descriptor that the program gets, or that is soon closed.
  [[nodiscard]] static private_fd with_number_of(unique_fd fd) noexcept {
    return private_fd{std::move(fd), true, first_unreserved};
  }
  /// The same, but keeps each number: for a file that replaces another one at a number that the program has.
  [[nodiscard]] static private_fd at_number_of(unique_fd fd) noexcept { return private_fd{std::move(fd), true, 0}; }
  /// Duplicates a descriptor of the program.
  /// @return empty, with errno as set by fcntl(2) for F_DUPFD_CLOEXEC, if it fails.
  [[nodiscard]] static private_fd duplicate_of(int program_fd) noexcept;

  private_fd(private_fd&& other) noexcept
      : fd_{std::exchange(other.fd_, -1)}, token_{other.token_}, identity_{other.identity_} {}
  private_fd& operator=(private_fd&& other) noexcept {
    if (this == &other) return *this;
    reset();
    fd_ = std::exchange(other.fd_, -1);
    token_ = other.token_;
    identity_ = other.identity_;
    return *this;
  }
  ~private_fd() { reset(); }

  /// The number, or -1 if there is no descriptor.
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

  /// Whether the number still refers to the file. One system call, or two for a duplicate. Does not change errno.
  [[nodiscard]] bool is_ours() const noexcept;

  /// As is_ours(), but makes its system calls also within a verified_scope.
  [[nodiscard]] bool verify() const noexcept;

  /// As is_ours(), except for a duplicate while is_doubtful(): this call then returns whether the number refers to the
  /// same file as the program's descriptor that was duplicated. In that case the number may be a descriptor of the
  /// program: the library may write to it, and must not close it.
  [[nodiscard]] bool refers_to_its_file() const noexcept;
  /// Whether this is a duplicate and the library has noticed that the program closed the epoll that identifies its
  /// duplicates. No system call.
  [[nodiscard]] bool is_doubtful() const noexcept;

  /// A scope for a thread that has just verified a descriptor: is_ours() of that descriptor makes no system call in
  /// this thread during the scope. Only for calls that do not wait, and that run no code of the program in this thread.
  /// Scopes do not nest.
  class verified_scope {
   public:
    /// @param just_verified null for no descriptor. refers_to_its_file() is enough as verification if the library
    /// writes nothing else to the descriptor during the scope than the program requested, such as the signals of its
    /// requests.
    explicit verified_scope(const private_fd* just_verified) noexcept;
    ~verified_scope();
    verified_scope(const verified_scope&) = delete;
    verified_scope& operator=(const verified_scope&) = delete;
  };

  /// Whether a younger private_fd has the number, so that the program must have closed this one. No system call.
  [[nodiscard]] bool is_superseded() const noexcept;

  /// Whether the program's descriptor `fd` refers to a file of the library, by this number or by another one.
  [[nodiscard]] static bool is_of_library(int fd) noexcept;

  /// Returns the number without closing it; empty afterwards.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes the descriptor, if it is still ours.
  void reset() noexcept;

  /// The lowest number that a private descriptor tries to get: 600, or less if the process may not have so many
  /// descriptors.
  [[nodiscard]] static int lowest_number() noexcept;

 private:
  /// The properties by which verify() recognizes the file.
  struct identity {
    enum class kind : unsigned char { inode, mark, in_epoll } by = kind::inode;
    std::uint32_t epoll = 0;  // the token of the epoll
    int program_fd = -1;      // the program's descriptor that was duplicated
    dev_t device = 0;
    ino_t inode = 0;
  };

  private_fd(unique_fd fd, bool is_sole_owner, int lowest) noexcept;

  static constexpr int first_unreserved = 3;

  int fd_ = -1;
  std::uint32_t token_ = 0;  // of this private_fd, in the table of numbers
  identity identity_;
};

}  // namespace doorbell::base
