// SPDX-License-Identifier: Apache-2.0
//
// foreign_bell: a kernel eventfd that the program made, and named in an iocb by its descriptor's number (resfd).
//
// It is rung through one of ours that forwards to it, and the file is held by a descriptor of our own: the program may close
// its number, or use it again for something else, and neither changes where the counts of requests in flight go.
//
//   program                              submit                       completion
//   resfd 7 is eventfd A
//                                        finds A at 7, and holds A
//   close(7); 7 is a file now
//                                                                     adds to A, which nobody reads
//                                        finds the file at 7: EINVAL
//
//   forbidden: 8 bytes written to the file. Nothing is ever written to a number, only to what was held when it was asked.
//
// All contexts of the process share it, so that an eventfd costs one descriptor, however many contexts signal it:
// shared_bells knows the foreign_bell of each number, foreign_bells is a context's cache of those it was told of last.
// Only caches and requests hold references. With the last one it leaves shared_bells:
//
//   last reference                       find
//   put(): no reference is left
//                                        lock; at the number; get_unless_zero() fails; unlock
//                                        makes another one; lock; puts it in its place; unlock
//   end(): lock; is not known any
//     more; unlock
//   is deleted
//
//   forbidden: find gets a reference to one that is being deleted. end() needs the lock, so under the lock the memory is
//              there, and get_unless_zero() is enough.
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

class foreign_bell;
using foreign_bell_ptr = base::intrusive_ptr<foreign_bell>;

class foreign_bell : public boost::intrusive::list_base_hook<> {  // of shared_bells
 public:
  /// Errors: bad_file_descriptor; invalid_argument for what is not an eventfd; too_many_files_open; not_enough_memory.
  static foreign_bell_ptr make(int resfd, std::error_code& ec) noexcept;

  /// Whether that is what `fd` names, now.
  [[nodiscard]] bool is_named_by(int fd) const noexcept;

  /// Signalled, it adds as much there.
  [[nodiscard]] const eventfd_ctx_ptr& bell() const noexcept { return bell_; }

  /// Whether something is left that did not fit, since the program does not read.
  [[nodiscard]] bool is_full() const noexcept { return bell_->has_waiting_counts(); }
  /// Adds of that what fits now.
  void try_again() noexcept { bell_->forward_waiting(); }
  /// Where to wait for there being room.
  [[nodiscard]] int descriptor() const noexcept { return file_->get(); }
  /// By what it is held.
  [[nodiscard]] const base::private_fd& file() const noexcept { return *file_; }

  void get() noexcept { references_.get(); }
  void put() noexcept {
    if (references_.put()) end();
  }

 private:
  friend class shared_bells;

  explicit foreign_bell(int number) noexcept : number_{number} {}
  void end() noexcept;

  const int number_;  // the program's
  doorbell::eventfd forwarding_;
  const base::private_fd* file_ = nullptr;  // what forwarding_ holds the eventfd by
  eventfd_ctx_ptr bell_;
  base::kref references_;
};

/// Whom a request rings.
struct ringing {
  /// Signals it. A kernel eventfd stops at 2^64-1, as for the kernel's own AIO; if the system refuses the kernel's AIO,
  /// what does not fit is added as soon as the program has read.
  void ring(std::uint64_t times) const noexcept;
  /// The same in a verified_scope of the descriptor (private_fd.hpp), by fewer system calls.
  void ring_verified(std::uint64_t times) const noexcept;

  eventfd_ctx_ptr bell;      ///< pins the eventfd_ctx, not its file; null: nobody
  foreign_bell_ptr foreign;  ///< whose bell it is, where it stands for a kernel eventfd; else null

 private:
  void see_to_the_rest() const noexcept;
};

/// Those of the process, by the number that the program named each by. It holds no references.
/// Thread safety: all members may be called concurrently.
class shared_bells {
 public:
  /// The one of this process. Never destroyed: threads may ring until the very end.
  static shared_bells& process() noexcept;

  /// That of `resfd`, as it is now. Errors: as foreign_bell::make.
  [[nodiscard]] foreign_bell_ptr find(int resfd, std::error_code& ec) noexcept;
  /// Ends one that no reference is left to. The reaper does not close descriptors, because the program may put a file in
  /// the place of one between the look and the close: it leaves them to the next call of delete_ended().
  void end(foreign_bell& ended) noexcept;
  /// In a thread of the program, without a lock. Called by find(), and when a context is destroyed.
  void delete_ended() noexcept;

  /// In a fork's child: those of the parent stay the parent's.
  void forget_all() noexcept;
  /// In a child that found the lists as they were, perhaps locked: the same, without touching the parent's.
  void begin_anew() noexcept DOORBELL_NO_THREAD_SAFETY_ANALYSIS;
  /// Around a fork, so that the child finds the lists whole.
  void lock_for_fork() noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(lock_) { lock_.lock(); }
  void unlock_after_fork() noexcept DOORBELL_UNLOCK_FUNCTION(lock_) { lock_.unlock(); }

 private:
  using list = boost::intrusive::list<foreign_bell, boost::intrusive::constant_time_size<false>>;

  shared_bells() = default;

  [[nodiscard]] list& place_of(int number) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return known_[static_cast<unsigned>(number) % known_.size()];
  }
  [[nodiscard]] foreign_bell_ptr get_locked(int number) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  [[nodiscard]] foreign_bell_ptr get(int number) noexcept;
  [[nodiscard]] foreign_bell_ptr replace(const foreign_bell_ptr& known, const foreign_bell_ptr& made) noexcept;

  base::mutex lock_;  // a leaf
  std::array<list, 64> known_ DOORBELL_GUARDED_BY(lock_);
  list ended_ DOORBELL_GUARDED_BY(lock_);  // in the reaper's thread, and not deleted yet
};

/// Those that a context was told of last, so that not each request looks among the process's.
/// Thread safety: all members may be called concurrently.
class foreign_bells {
 public:
  /// That of `resfd`, as it is now. Errors: as foreign_bell::make.
  [[nodiscard]] foreign_bell_ptr find(int resfd, std::error_code& ec) noexcept;

 private:
  [[nodiscard]] foreign_bell_ptr& place_of(int resfd) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return known_[static_cast<unsigned>(resfd) % known_.size()];
  }

  base::mutex lock_;  // a leaf
  std::array<foreign_bell_ptr, 8> known_ DOORBELL_GUARDED_BY(lock_);
};

/// The files to which the numbers in the iocbs of one submit refer. Iocbs in a row that name the same number are looked
/// up once: a program that uses a number again while it is being submitted cannot tell the difference.
/// Thread safety: none; of the thread that submits.
class resfd_lookup {
 public:
  explicit resfd_lookup(foreign_bells& known) noexcept : known_{known} {}

  /// Errors: as foreign_bell::make.
  [[nodiscard]] foreign_bell_ptr find(int resfd, std::error_code& ec) noexcept {
    if (last_ == nullptr || number_ != resfd) {
      last_ = known_.find(resfd, ec);
      number_ = resfd;
    }
    return last_;
  }

 private:
  foreign_bells& known_;
  int number_ = -1;
  foreign_bell_ptr last_;
};

}  // namespace doorbell::aio
