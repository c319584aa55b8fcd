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
#pragma once

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

class foreign_bell {
 public:
  /// Errors: bad_file_descriptor; invalid_argument for what is not an eventfd; too_many_files_open; not_enough_memory.
  static foreign_bell_ptr make(int resfd, std::error_code& ec) noexcept;

  /// Whether that is what `fd` names, now.
  [[nodiscard]] bool is_named_by(int fd) const noexcept;

  /// Signalled, it adds as much there.
  [[nodiscard]] const eventfd_ctx_ptr& bell() const noexcept { return bell_; }

  /// Whether something is left that did not fit, since the program does not read.
  [[nodiscard]] bool is_full() const noexcept { return bell_->count() > 0; }
  /// Adds of that what fits now.
  void try_again() noexcept { bell_->wake(POLLIN); }
  /// Where to wait for there being room.
  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }

  void get() noexcept { references_.get(); }
  void put() noexcept {
    if (references_.put()) delete this;
  }

 private:
  foreign_bell() = default;

  base::private_fd file_;
  doorbell::eventfd forwarding_;
  eventfd_ctx_ptr bell_;
  base::kref references_;
};

/// Whom a request rings.
struct ringing {
  /// Signals it. What does not fit into a kernel eventfd is added as soon as its program has read.
  void ring(std::uint64_t times) const noexcept;
  /// The same, after somebody else has signalled `bell`.
  void see_to_the_rest() const noexcept;

  eventfd_ctx_ptr bell;      ///< pins the eventfd_ctx, not its file; null: nobody
  foreign_bell_ptr foreign;  ///< whose bell it is, where it stands for a kernel eventfd; else null
};

/// Those that a context was told of last, so that not each request makes its own.
/// Thread safety: all, at once.
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

}  // namespace doorbell::aio
