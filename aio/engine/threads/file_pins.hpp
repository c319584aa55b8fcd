// SPDX-License-Identifier: Apache-2.0
//
// file_pins: the open files of the I/O threads' requests. A request belongs to the file that its number referred to
// when it was submitted; the I/O threads use their own descriptor of that file, in their own table.
//
//   program                              submit                       worker
//   5 is file A
//                                        pin(5): sends A
//   close(5); 5 is file B now
//                                                                     number(): receives A, as 17 in its own table
//                                                                     writes to 17, which is A
//
//   forbidden: the worker writes to 5 of the program's table. The worker has no access to that table.
//
// Requests that are in flight together, for the same number and the same file, share a pin: the file is sent when the
// first of them is submitted, and closed when the last has completed. Two files are the same if their devices, inodes
// and flags (fcntl(2) F_GETFL) are equal. If the number becomes another file while a pin is made, the pin is not
// shared, because either file may have been sent. This is not noticed if the number is the first file again by then.
//
// Thread safety: pin() and unpin() may be called concurrently, in any thread; number() and sweep() in I/O threads.
// lock_ is a leaf.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <map>
#include <system_error>

#include <doorbell/base/mutex.hpp>

#include "file_channel.hpp"
#include "wakeup_fd.hpp"

namespace doorbell::aio {

class file_pins {
 public:
  /// Names a pin. 0: none.
  using ticket = std::uint64_t;
  enum class sharing { allowed, own };
  /// The behaviour of pin() while the channel is full. The I/O threads empty the channel, and they complete requests.
  /// So a thread that waits must not hold a lock that is taken to complete a request.
  enum class when_full { wait, fail };

  /// @param last all tickets are higher. The tickets of two sets of I/O threads differ, so that a message for the other
  /// set names no pin.
  file_pins(file_channel& channel, wakeup_fd& wakeup, ticket last) noexcept
      : channel_{channel}, wakeup_{wakeup}, last_{last} {}
  file_pins(const file_pins&) = delete;
  file_pins& operator=(const file_pins&) = delete;

  /// Pins the file that `fd` refers to now. Called in a thread of the program.
  /// @param share own: no other pin has the same number in the I/O threads' table, as an epoll requires.
  /// Errors: bad_file_descriptor (`fd`), not_connected (the program has closed the I/O threads' descriptor),
  /// not_enough_memory, too_many_files_open, resource_unavailable_try_again (the channel is full), others of
  /// sendmsg(2).
  [[nodiscard]] ticket pin(int fd, sharing share, std::error_code& ec, when_full then = when_full::wait) noexcept;

  /// The I/O threads' table is full, because RLIMIT_NOFILE has been lowered. The file stays in the channel.
  static constexpr int no_room = -2;

  /// The number of the file in the I/O threads' table. no_room: not available now; other negative numbers: never
  /// available.
  [[nodiscard]] int number(ticket pinned) noexcept;

  /// Closes the file's number and replaces it by `number`, which the caller has opened.
  void replace(ticket pinned, int number) noexcept;

  /// Records that the file is in an epoll, from which it must be removed before it is closed.
  void note_epoll(ticket pinned, int epoll) noexcept;

  /// Ends one use of a pin. The last use closes the file: immediately in an I/O thread; after a call in a thread of the
  /// program, the I/O threads close the file soon.
  void unpin(ticket pinned) noexcept;

  /// Closes the files whose last use ended in a thread of the program.
  void sweep() noexcept;
  /// Waits until the I/O threads have closed these files. Called in a thread of the program.
  void wait_until_swept() noexcept;

  /// The number of pins.
  [[nodiscard]] std::size_t size() noexcept;

  /// Around fork(2), in the thread that forks.
  void lock_for_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void unlock_after_fork() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }

 private:
  /// Requests with equal keys may share a pin.
  struct file_key {
    int fd;
    int flags;
    dev_t device;
    ino_t inode;
    auto operator<=>(const file_key&) const = default;
  };
  struct pinned_file {
    int number = -1;  // in the I/O threads' table, once it has been received
    unsigned uses = 1;
    bool is_received = false;
    bool is_shared = false;
    file_key key{};
    int epoll = -1;
  };
  using pin_map = std::map<ticket, pinned_file>;

  [[nodiscard]] static bool identify(int fd, file_key& key) noexcept;
  [[nodiscard]] ticket find_locked(const file_key& key) const noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] ticket add_locked(int fd, sharing share, const file_key& key, std::error_code& ec) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  enum class receipt { done, none, no_room };
  [[nodiscard]] receipt receive_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void end_locked(pin_map::iterator pinned) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  file_channel& channel_;
  wakeup_fd& wakeup_;

  base::mutex lock_;
  ticket last_ DOORBELL_GUARDED_BY(lock_);
  pin_map pins_ DOORBELL_GUARDED_BY(lock_);
  std::map<file_key, ticket> shared_ DOORBELL_GUARDED_BY(lock_);
  bool has_unused_ DOORBELL_GUARDED_BY(lock_) = false;  // pins without uses, which sweep() ends
  base::condition_variable swept_;
};

}  // namespace doorbell::aio
