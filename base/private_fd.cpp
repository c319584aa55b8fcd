// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/private_fd.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/errno_kept.hpp>

namespace doorbell::base {
namespace {

// Low enough that the kernel's table of descriptors stays small (8 KiB), high enough for most programs.
constexpr int usual_lowest = 600;
// A process that may have fewer descriptors needs all of them for its files.
constexpr rlim_t few_descriptors = 64;

/// Which private_fd got a number last.
constinit std::array<atomic<std::uint32_t>, 4096> youngest{};
constinit atomic<std::uint32_t> last_token{0};

rlim_t number_limit() noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

int mark() noexcept { return SIGRTMAX; }

bool is_in_table(int fd) noexcept { return static_cast<std::size_t>(fd) < youngest.size(); }

unique_fd duplicate(int fd, int lowest, int at_least) noexcept {
  if (unique_fd high{::fcntl(fd, F_DUPFD_CLOEXEC, lowest)}) return high;
  return unique_fd{::fcntl(fd, F_DUPFD_CLOEXEC, at_least)};
}

/// That of this thread's verified_scope.
constinit thread_local const private_fd* verified = nullptr;

/// Never closed by the library.
constinit atomic<int> epoll_of_duplicates{-1};

bool is_epoll_ours(int epoll) noexcept { return ::fcntl(epoll, F_GETSIG) == mark(); }

// If two threads create it, one of the two closes its own. A descriptor that the program has closed is replaced; then the
// duplicates that were in the old epoll are taken to be lost.
int make_epoll_of_duplicates(int lost) noexcept {
  if (number_limit() < few_descriptors) return -1;
  unique_fd made{::epoll_create1(EPOLL_CLOEXEC)};
  if (!made) return -1;
  if (auto high = duplicate(made.get(), private_fd::lowest_number(), 3)) made = std::move(high);
  if (::fcntl(made.get(), F_SETSIG, mark()) != 0) return -1;
  if (epoll_of_duplicates.compare_exchange_strong(lost, made.get(), memory_order_acq_rel)) return made.release();
  return lost;
}

/// @param operation EPOLL_CTL_ADD to make it known, EPOLL_CTL_MOD to ask.
bool is_known_to_epoll(int fd, int operation) noexcept {
  int epoll = epoll_of_duplicates.load(memory_order_acquire);
  if (epoll < 0 || !is_epoll_ours(epoll)) epoll = operation == EPOLL_CTL_ADD ? make_epoll_of_duplicates(epoll) : -1;
  if (epoll < 0) return false;
  epoll_event nothing{};
  // The same file may have had the same number before.
  return ::epoll_ctl(epoll, operation, fd, &nothing) == 0 || (operation == EPOLL_CTL_ADD && errno == EEXIST);
}

}  // namespace

// With a low limit, the upper quarter of the numbers.
int private_fd::lowest_number() noexcept {
  const auto limit = number_limit();
  const auto upper_quarter = limit - limit / 4;
  return std::max(first_unreserved, static_cast<int>(std::min<rlim_t>(upper_quarter, usual_lowest)));
}

private_fd private_fd::duplicate_of(int programs) noexcept {
  return private_fd{duplicate(programs, lowest_number(), first_unreserved), false, first_unreserved};
}

private_fd::private_fd(unique_fd fd, bool is_sole_owner, int lowest) noexcept {
  if (!fd) return;
  const errno_kept around;
  if (fd.get() < lowest)
    if (auto high = duplicate(fd.get(), lowest, first_unreserved)) fd = std::move(high);
  struct stat status{};
  if (is_sole_owner && ::fcntl(fd.get(), F_SETSIG, mark()) == 0) {
    identity_.by = identity::kind::mark;
  } else if (!is_sole_owner && is_known_to_epoll(fd.get(), EPOLL_CTL_ADD)) {
    identity_.by = identity::kind::in_epoll;
  } else if (::fstat(fd.get(), &status) == 0) {
    identity_.device = status.st_dev;
    identity_.inode = status.st_ino;
  }
  fd_ = fd.release();
  token_ = last_token.fetch_add(1, memory_order_relaxed) + 1;
  if (is_in_table(fd_)) youngest[static_cast<std::size_t>(fd_)].store(token_, memory_order_relaxed);
}

// Relaxed: the kernel gives a number out again only after the descriptor has been closed, and a thread that knows of the
// younger owner has synchronized with it by other means.
bool private_fd::is_superseded() const noexcept {
  return is_in_table(fd_) && youngest[static_cast<std::size_t>(fd_)].load(memory_order_relaxed) != token_;
}

private_fd::verified_scope::verified_scope(const private_fd* just_verified) noexcept { verified = just_verified; }
private_fd::verified_scope::~verified_scope() { verified = nullptr; }

bool private_fd::is_ours() const noexcept {
  if (fd_ < 0 || is_superseded()) return false;
  if (verified == this) return true;
  const errno_kept around;
  struct stat status{};
  switch (identity_.by) {
    case identity::kind::mark:
      return ::fcntl(fd_, F_GETSIG) == mark();
    case identity::kind::in_epoll:
      return is_known_to_epoll(fd_, EPOLL_CTL_MOD);
    case identity::kind::inode:
      break;
  }
  return ::fstat(fd_, &status) == 0 && status.st_dev == identity_.device && status.st_ino == identity_.inode;
}

void private_fd::reset() noexcept {
  if (fd_ < 0) return;
  if (is_ours()) ::close(fd_);
  fd_ = -1;
}

}  // namespace doorbell::base
