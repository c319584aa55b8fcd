// SPDX-License-Identifier: Apache-2.0
//
// resfd_target: a kernel eventfd that the program made, and named in an iocb by its descriptor's number (resfd).
//
// The library signals it through an eventfd of the library that forwards counts to it, and holds the file by a
// descriptor of its own: the program may close its number, or use it again for something else, and neither changes
// where the counts of requests in flight go.
//
//   program                              submit                       completion
//   resfd 7 is eventfd A
//                                        finds A at 7, and holds A
//   close(7); 7 is a file now
//                                                                     adds to A, which no thread can read any more
//                                        finds the file at 7: EINVAL
//
//   forbidden: 8 bytes written to the file. The library never writes to the program's number, only to the file that it
//              held at submit.
//
// All contexts of the process share the resfd_targets, so an eventfd costs one descriptor, however many contexts signal
// it: resfd_registry finds the resfd_target of each number; resfd_cache is a context's cache of those that it used
// last. Only caches and requests hold references. When the last reference is dropped, the resfd_target leaves
// resfd_registry:
//
//   last reference                       find
//   put(): no reference is left
//                                        lock; at the number; get_unless_zero() fails; unlock
//                                        makes another one; lock; stores it instead; unlock
//   end(): lock; removed from
//     the registry; unlock
//   is deleted
//
//   forbidden: find gets a reference to a resfd_target that is being deleted. end() needs the lock, so the memory is
//              valid while find holds the lock, and get_unless_zero() is sufficient.
#pragma once

#include <boost/intrusive/list.hpp>

#include <array>
#include <cstdint>
#include <system_error>

#include <doorbell/base/intrusive_ptr.hpp>
#include <doorbell/base/kref.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/private_fd.hpp>
#include <doorbell/eventfd.hpp>

namespace doorbell::aio {

class resfd_target;
using resfd_target_ptr = base::intrusive_ptr<resfd_target>;

class resfd_target : public boost::intrusive::list_base_hook<> {  // of resfd_registry
 public:
  /// Errors: bad_file_descriptor; invalid_argument for a file that is not an eventfd; too_many_files_open;
  /// not_enough_memory.
  static resfd_target_ptr make(int resfd, std::error_code& ec) noexcept;

  /// Whether `fd` refers to this eventfd now.
  [[nodiscard]] bool is_named_by(int fd) const noexcept;

  /// The library's eventfd that forwards its counts to the kernel eventfd.
  [[nodiscard]] const eventfd_ctx_ptr& eventfd() const noexcept { return efd_; }

  /// Whether a count remains that did not fit into the kernel eventfd, because the program does not read.
  [[nodiscard]] bool is_full() const noexcept { return efd_->has_waiting_counts(); }
  /// Adds as much of the remaining count as fits now.
  void try_again() noexcept { efd_->forward_waiting(); }
  /// The descriptor that becomes writable when there is room.
  [[nodiscard]] int descriptor() const noexcept { return file_->get(); }
  /// The library's descriptor that holds the eventfd.
  [[nodiscard]] const base::private_fd& file() const noexcept { return *file_; }

  void get() noexcept { references_.get(); }
  void put() noexcept {
    if (references_.put()) end();
  }

 private:
  friend class resfd_registry;

  explicit resfd_target(int number) noexcept : number_{number} {}
  void end() noexcept;

  const int number_;  // the number that the program named
  doorbell::eventfd forwarding_;
  const base::private_fd* file_ = nullptr;  // the descriptor by which forwarding_ holds the eventfd
  eventfd_ctx_ptr efd_;
  base::kref references_;
};

/// The resfd_targets of the process, by the number that the program named. Holds no references.
/// Thread safety: all members may be called concurrently.
class resfd_registry {
 public:
  /// The registry of this process. Never destroyed: threads may signal until the very end.
  static resfd_registry& process() noexcept;

  /// Finds or makes the resfd_target of the eventfd to which `resfd` refers now. Errors: as resfd_target::make.
  [[nodiscard]] resfd_target_ptr find(int resfd, std::error_code& ec) noexcept;
  /// Deletes a resfd_target without references. The reaper does not close descriptors, because the program may put a
  /// file at the number between the check and the close: the reaper leaves them to the next call of delete_ended().
  void end(resfd_target& ended) noexcept;
  /// Called in a thread of the program, without a lock: by find(), and when a context is destroyed.
  void delete_ended() noexcept;

  /// For a fork's child: forgets the parent's resfd_targets without deleting them.
  void forget_all() noexcept;
  /// For a child whose copy of the lists may be locked or half changed: the same, without access to the old lists.
  void begin_anew() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS;
  /// Around a fork, so that the child's copy of the lists is consistent.
  void lock_for_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void unlock_after_fork() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }

 private:
  using list = boost::intrusive::list<resfd_target, boost::intrusive::constant_time_size<false>>;

  resfd_registry() = default;

  [[nodiscard]] list& place_of(int number) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return known_[static_cast<unsigned>(number) % known_.size()];
  }
  [[nodiscard]] resfd_target_ptr get_locked(int number) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] resfd_target_ptr get(int number) noexcept;
  [[nodiscard]] resfd_target_ptr replace(const resfd_target_ptr& known, const resfd_target_ptr& made) noexcept;

  base::mutex lock_;  // no other lock is acquired under it
  std::array<list, 64> known_ DOORBELL_GUARDED_BY(lock_);
  list ended_ DOORBELL_GUARDED_BY(lock_);  // ended in the reaper's thread, and not deleted yet
};

/// The resfd_targets that a context used last, so that not every request searches those of the process.
/// Thread safety: all members may be called concurrently.
class resfd_cache {
 public:
  /// The resfd_target of the eventfd to which `resfd` refers now. Errors: as resfd_target::make.
  [[nodiscard]] resfd_target_ptr find(int resfd, std::error_code& ec) noexcept;

 private:
  [[nodiscard]] resfd_target_ptr& place_of(int resfd) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return known_[static_cast<unsigned>(resfd) % known_.size()];
  }

  base::mutex lock_;  // no other lock is acquired under it
  std::array<resfd_target_ptr, 8> known_ DOORBELL_GUARDED_BY(lock_);
};

/// Caches the lookup of one submit. Consecutive iocbs that name the same number are looked up once: a program that
/// reuses a number during the submit cannot observe the difference.
/// Thread safety: none; for the thread that submits.
class resfd_lookup {
 public:
  explicit resfd_lookup(resfd_cache& known) noexcept : known_{known} {}

  /// Errors: as resfd_target::make.
  [[nodiscard]] resfd_target_ptr find(int resfd, std::error_code& ec) noexcept {
    if (last_ == nullptr || number_ != resfd) {
      last_ = known_.find(resfd, ec);
      number_ = resfd;
    }
    return last_;
  }

 private:
  resfd_cache& known_;
  int number_ = -1;
  resfd_target_ptr last_;
};

}  // namespace doorbell::aio
