// SPDX-License-Identifier: Apache-2.0
#include "resfd.hpp"

#include <cerrno>
#include <new>
#include <utility>

#include "../system/reaper_thread.hpp"
#include "../system/same_file.hpp"

namespace doorbell::aio {

resfd_target_ptr resfd_target::make(int resfd, std::error_code& ec) noexcept {
  resfd_target_ptr made{new (std::nothrow) resfd_target{resfd}, false};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return {};
  }
  made->forwarding_ = doorbell::eventfd::forwarding_to(resfd, ec);
  if (ec) return {};
  made->efd_ = made->forwarding_.context();
  made->file_ = made->efd_->forwarding_target();
  return made;
}

// The program may have put its eventfd at our descriptor's number; a comparison of the number with itself would always
// be true. A true comparison also implies that our descriptor still refers to the held eventfd, unless the program has
// put one other file at both numbers; then the descriptor is verified before a write (kernel_eventfd.hpp).
bool resfd_target::is_named_by(int fd) const noexcept {
  return fd != file_->get() && !file_->is_superseded() && !file_->is_doubtful() && is_same_file(file_->get(), fd);
}

void resfd_target::end() noexcept { resfd_registry::process().end(*this); }

resfd_registry& resfd_registry::process() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory for the lists the program ends
  static resfd_registry& one = *new resfd_registry;
  return one;
}

// @return null if no resfd_target is known for the number, or only one without references.
resfd_target_ptr resfd_registry::get_locked(int number) noexcept {
  for (auto& each : place_of(number))
    if (each.number_ == number && each.references_.get_unless_zero()) return resfd_target_ptr{&each, false};
  return {};
}

resfd_target_ptr resfd_registry::get(int number) noexcept {
  const base::mutex_lock held{lock_};
  return get_locked(number);
}

// Stores `made` for its number if the stored resfd_target is still `known` (null: none, or only one without
// references).
// @return the stored one afterwards. Null: the caller must try again.
resfd_target_ptr resfd_registry::replace(const resfd_target_ptr& known, const resfd_target_ptr& made) noexcept {
  const base::mutex_lock held{lock_};
  // If another one is stored, the reference goes to the caller: the last one must not be dropped under the lock.
  if (auto now = get_locked(made->number_); now != known) return now;
  auto& place = place_of(made->number_);
  place.remove_if([&](const resfd_target& each) { return each.number_ == made->number_; });
  place.push_back(*made);
  return made;
}

// The lock is not held while the kernel compares the files, nor while a new resfd_target is made.
resfd_target_ptr resfd_registry::find(int resfd, std::error_code& ec) noexcept {
  delete_ended();
  auto known = get(resfd);
  resfd_target_ptr made;
  for (;;) {
    if (known != nullptr && (known == made || known->is_named_by(resfd))) return known;
    if (made == nullptr) made = resfd_target::make(resfd, ec);
    if (made == nullptr) return {};
    known = replace(known, made);
  }
}

void resfd_registry::end(resfd_target& ended) noexcept {
  {
    const base::mutex_lock held{lock_};
    if (ended.is_linked()) place_of(ended.number_).erase(list::s_iterator_to(ended));
    if (reaper_thread::is_this_thread()) {
      ended_.push_back(ended);
      return;
    }
  }
  delete &ended;
}

void resfd_registry::delete_ended() noexcept {
  list ended;
  {
    const base::mutex_lock held{lock_};
    ended.swap(ended_);
  }
  ended.clear_and_dispose([](resfd_target* each) { delete each; });
}

void resfd_registry::forget_all() noexcept {
  const base::mutex_lock held{lock_};
  for (auto& each : known_) each.clear();
  ended_.clear();
}

void resfd_registry::begin_anew() noexcept { new (this) resfd_registry; }

resfd_target_ptr resfd_cache::find(int resfd, std::error_code& ec) noexcept {
  resfd_target_ptr known;
  {
    const base::mutex_lock held{lock_};
    known = place_of(resfd);
  }
  if (known != nullptr && known->is_named_by(resfd)) return known;
  known = resfd_registry::process().find(resfd, ec);
  resfd_target_ptr replaced;  // destroyed after the lock is released: it may acquire an eventfd's lock
  const base::mutex_lock held{lock_};
  if (known != nullptr) replaced = std::exchange(place_of(resfd), known);
  return known;
}

}  // namespace doorbell::aio
