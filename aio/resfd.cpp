// SPDX-License-Identifier: Apache-2.0
#include "resfd.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <new>
#include <string_view>
#include <utility>

#include "reaper.hpp"

namespace doorbell::aio {
namespace {

// Of linux/fcntl.h, since Linux 6.10.
constexpr int dupfd_query = 1024 + 3;

/// What fdinfo tells of an eventfd, but for its count and flags, which change: its id, which no other ever has.
class fdinfo_text {
 public:
  explicit fdinfo_text(int fd) noexcept {
    std::array<char, 40> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/fdinfo/%d", fd);
    const base::unique_fd file{::open(path.data(), O_RDONLY | O_CLOEXEC)};
    const auto size = file ? ::read(file.get(), text_.data(), text_.size()) : -1;
    size_ = size > 0 ? static_cast<std::size_t>(size) : 0;
  }

  /// Empty, when it is no eventfd's.
  [[nodiscard]] std::string_view id() const noexcept {
    const std::string_view all{text_.data(), size_};
    const auto at = all.find("eventfd-id:");
    return at == std::string_view::npos ? std::string_view{} : all.substr(at, all.find('\n', at) - at);
  }

 private:
  std::array<char, 512> text_{};
  std::size_t size_ = 0;
};

// The newest way is the cheapest; kcmp(2) may be missing or forbidden; /proc is the last.
bool same_file(int one, int other) noexcept {
  if (const int same = ::fcntl(one, dupfd_query, other); same >= 0) return same == 1;
  if (errno == EBADF) return false;
  const auto me = static_cast<long>(::getpid());
  if (const auto order = ::syscall(SYS_kcmp, me, me, KCMP_FILE, static_cast<long>(one), static_cast<long>(other));
      order >= 0)
    return order == 0;
  if (errno == EBADF) return false;
  const fdinfo_text of_one{one};
  return !of_one.id().empty() && of_one.id() == fdinfo_text{other}.id();
}

void add_the_rest(const foreign_bell_ptr& rung) noexcept {
  if (rung->is_full()) reaper::process().add_when_there_is_room(rung);
}

}  // namespace

foreign_bell_ptr foreign_bell::make(int resfd, std::error_code& ec) noexcept {
  foreign_bell_ptr made{new (std::nothrow) foreign_bell, false};
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::not_enough_memory);
    return {};
  }
  made->file_ = base::private_fd::duplicate_of(resfd);
  if (!made->file_) {
    ec.assign(errno, std::system_category());
    return {};
  }
  // From our own descriptor, so that both are of one file.
  made->forwarding_ = doorbell::eventfd::forwarding_to(made->file_.get(), ec);
  if (ec) return {};
  made->bell_ = made->forwarding_.context();
  return made;
}

// If the program uses our number, the comparison of the number with itself would say yes.
bool foreign_bell::is_named_by(int fd) const noexcept {
  return fd != file_.get() && file_.is_ours() && same_file(file_.get(), fd);
}

void ringing::ring(std::uint64_t times) const noexcept {
  bell->signal(times);
  see_to_the_rest();
}

// In a callback the signal has only been left for later; so the look is left for after it.
void ringing::see_to_the_rest() const noexcept {
  if (foreign == nullptr) return;
  if (!eventfd_ctx::in_callback()) {
    add_the_rest(foreign);
    return;
  }
  const auto look = [](void* object, std::uint64_t) noexcept {
    add_the_rest(foreign_bell_ptr{static_cast<foreign_bell*>(object), false});
  };
  eventfd_ctx::after_callback(look, foreign_bell_ptr{foreign}.detach());
}

foreign_bell_ptr foreign_bells::find(int resfd, std::error_code& ec) noexcept {
  foreign_bell_ptr known;
  {
    const base::mutex_lock held{lock_};
    known = place_of(resfd);
  }
  if (known != nullptr && known->is_named_by(resfd)) return known;
  known = foreign_bell::make(resfd, ec);
  foreign_bell_ptr replaced;  // whose end takes an eventfd's lock
  const base::mutex_lock held{lock_};
  if (known != nullptr) replaced = std::exchange(place_of(resfd), known);
  return known;
}

}  // namespace doorbell::aio
