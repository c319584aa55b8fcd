// SPDX-License-Identifier: Apache-2.0
#include "resfd.hpp"

#include <cerrno>
#include <new>
#include <utility>

#include "eventfd_signal.hpp"
#include "reaper.hpp"
#include "reaper_thread.hpp"
#include "same_file.hpp"

namespace doorbell::aio {
namespace {

void add_the_rest(const foreign_bell_ptr& rung) noexcept {
  if (rung->is_full()) reaper::process().add_when_there_is_room(rung);
}

}  // namespace

foreign_bell_ptr foreign_bell::make(int resfd, std::error_code& ec) noexcept {
  foreign_bell_ptr made{new (std::nothrow) foreign_bell{resfd}, false};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return {};
  }
  made->forwarding_ = doorbell::eventfd::forwarding_to(resfd, ec);
  if (ec) return {};
  made->bell_ = made->forwarding_.context();
  made->file_ = made->bell_->forwarding_target();
  return made;
}

// If the program uses our number, the comparison of the number with itself would say yes. That ours is still the file
// that it was follows from the comparison, unless the program has put one other file in the places of both; then the
// descriptor is verified before it is written to (kernel_eventfd.hpp).
bool foreign_bell::is_named_by(int fd) const noexcept {
  return fd != file_->get() && !file_->is_superseded() && !file_->is_doubtful() && is_same_file(file_->get(), fd);
}

void foreign_bell::end() noexcept { shared_bells::process().end(*this); }

// The kernel's AIO first: between a look at the descriptor and a write, the program may put a file at its number.
void ringing::ring(std::uint64_t times) const noexcept {
  if (foreign != nullptr && !eventfd_ctx::in_callback()) {
    times = eventfd_signal::add(foreign->file(), times);
    if (times > 0) times = bell->forward_directly(times);
    if (times == 0) return;
  }
  bell->signal(times);
  see_to_the_rest();
}

// write(2) first. ring() adds the rest, if the write did not fit or might have blocked.
void ringing::ring_verified(std::uint64_t times) const noexcept {
  if (foreign != nullptr && !eventfd_ctx::in_callback()) times = bell->forward_directly(times);
  if (times > 0) ring(times);
}

// In a callback the signal has only been left for later, and when it is made there, its write to the kernel eventfd is
// left for after it. So the look is left for later twice.
void ringing::see_to_the_rest() const noexcept {
  if (foreign == nullptr) return;
  if (!eventfd_ctx::in_callback()) {
    add_the_rest(foreign);
    return;
  }
  constexpr auto look_after_signal = [](void* object, std::uint64_t) noexcept {
    constexpr auto look_after_write = [](void* rung, std::uint64_t) noexcept {
      add_the_rest(foreign_bell_ptr{static_cast<foreign_bell*>(rung), false});
    };
    eventfd_ctx::after_callback(look_after_write, object);
  };
  eventfd_ctx::after_callback(look_after_signal, foreign_bell_ptr{foreign}.detach());
}

shared_bells& shared_bells::process() noexcept {
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory for the lists the program ends
  static shared_bells& one = *new shared_bells;
  return one;
}

// @return null: none is known, or only one that no reference is left to.
foreign_bell_ptr shared_bells::get_locked(int number) noexcept {
  for (auto& each : place_of(number))
    if (each.number_ == number && each.references_.get_unless_zero()) return foreign_bell_ptr{&each, false};
  return {};
}

foreign_bell_ptr shared_bells::get(int number) noexcept {
  const base::mutex_lock held{lock_};
  return get_locked(number);
}

// Makes `made` the one that is known, if that is `known` now, or none is.
// @return the one that is known after it.
foreign_bell_ptr shared_bells::replace(const foreign_bell_ptr& known, const foreign_bell_ptr& made) noexcept {
  const base::mutex_lock held{lock_};
  // If another one is known, the reference goes to the caller: the last one must not be dropped under the lock.
  if (auto now = get_locked(made->number_); now != known) return now;
  auto& place = place_of(made->number_);
  place.remove_if([&](const foreign_bell& each) { return each.number_ == made->number_; });
  place.push_back(*made);
  return made;
}

// Without the lock while it asks the kernel what the number refers to, and while it makes a new one.
foreign_bell_ptr shared_bells::find(int resfd, std::error_code& ec) noexcept {
  delete_ended();
  auto known = get(resfd);
  foreign_bell_ptr made;
  for (;;) {
    if (known != nullptr && (known == made || known->is_named_by(resfd))) return known;
    if (made == nullptr) made = foreign_bell::make(resfd, ec);
    if (made == nullptr) return {};
    known = replace(known, made);
  }
}

void shared_bells::end(foreign_bell& ended) noexcept {
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

void shared_bells::delete_ended() noexcept {
  list ended;
  {
    const base::mutex_lock held{lock_};
    ended.swap(ended_);
  }
  ended.clear_and_dispose([](foreign_bell* each) { delete each; });
}

void shared_bells::forget_all() noexcept {
  const base::mutex_lock held{lock_};
  for (auto& each : known_) each.clear();
  ended_.clear();
}

void shared_bells::begin_anew() noexcept { new (this) shared_bells; }

foreign_bell_ptr foreign_bells::find(int resfd, std::error_code& ec) noexcept {
  foreign_bell_ptr known;
  {
    const base::mutex_lock held{lock_};
    known = place_of(resfd);
  }
  if (known != nullptr && known->is_named_by(resfd)) return known;
  known = shared_bells::process().find(resfd, ec);
  foreign_bell_ptr replaced;  // whose end takes an eventfd's lock
  const base::mutex_lock held{lock_};
  if (known != nullptr) replaced = std::exchange(place_of(resfd), known);
  return known;
}

}  // namespace doorbell::aio
