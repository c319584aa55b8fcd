// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/private_fd.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/errno_kept.hpp>
#include <doorbell/base/same_file.hpp>
#include <doorbell/base/uncancelled.hpp>

namespace doorbell::base {
namespace {

// Low enough that the kernel's table of descriptors stays small (8 KiB), high enough for most programs.
constexpr int usual_lowest = 600;

/// The token of the youngest owner of each number.
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

/// The descriptor of this thread's verified_scope.
constinit thread_local const private_fd* verified = nullptr;

/// Registers the new owner of a number. No other thread uses the new descriptor yet. Called before the file gets the
/// mark: until then, an older owner of the number sees that the file is not its own.
/// @return the token of the new owner.
std::uint32_t note_owner(int fd) noexcept {
  // equivalent fault (constant): the tokens only need to differ
  const auto token = last_token.fetch_add(1, memory_order_relaxed) + 1;
  if (is_in_table(fd)) youngest[static_cast<std::size_t>(fd)].store(token, memory_order_relaxed);
  return token;
}

bool has_younger_owner(int fd, std::uint32_t token) noexcept {
  return is_in_table(fd) && youngest[static_cast<std::size_t>(fd)].load(memory_order_relaxed) != token;
}

/// A number with the token of its owner, in one word.
struct owned_number {
  int fd;
  std::uint32_t token;
};
static_assert(sizeof(owned_number) == sizeof(std::uint64_t));

/// Never closed by the library.
constinit atomic<std::uint64_t> epoll_of_duplicates{std::bit_cast<std::uint64_t>(owned_number{.fd = -1, .token = 0})};

// Checks the token, because another descriptor of the library, with the mark, may have the number by now.
bool is_epoll_ours(owned_number epoll) noexcept {
  return epoll.fd >= 0 && !has_younger_owner(epoll.fd, epoll.token) && ::fcntl(epoll.fd, F_GETSIG) == mark();
}

/// The token of the epoll that was last found to be lost.
constinit atomic<std::uint32_t> lost_epoll{0};

std::uint32_t token_of_epoll() noexcept {
  return std::bit_cast<owned_number>(epoll_of_duplicates.load(memory_order_acquire)).token;
}

// If two threads create the epoll, one of them closes its own. If the program has closed the epoll, a new one replaces
// it; the duplicates in the old one count as lost.
int make_epoll_of_duplicates(std::uint64_t lost) noexcept {
  unique_fd made{::epoll_create1(EPOLL_CLOEXEC)};
  if (!made) return -1;  // equivalent fault (dropped): what follows fails for -1, too
  if (auto high = duplicate(made.get(), private_fd::lowest_number(), 3)) made = std::move(high);
  const owned_number now{.fd = made.get(), .token = note_owner(made.get())};
  if (::fcntl(made.get(), F_SETSIG, mark()) != 0) return -1;
  if (epoll_of_duplicates.compare_exchange_strong(lost, std::bit_cast<std::uint64_t>(now), memory_order_acq_rel))
    return made.release();
  return std::bit_cast<owned_number>(lost).fd;
}

/// @param operation EPOLL_CTL_ADD to register the file, EPOLL_CTL_MOD to check whether it is registered.
bool is_known_to_epoll(int fd, int operation) noexcept {
  const auto known = epoll_of_duplicates.load(memory_order_acquire);
  int epoll = std::bit_cast<owned_number>(known).fd;
  if (!is_epoll_ours(std::bit_cast<owned_number>(known))) {
    lost_epoll.store(std::bit_cast<owned_number>(known).token, memory_order_relaxed);
    epoll = operation == EPOLL_CTL_ADD ? make_epoll_of_duplicates(known) : -1;
  }
  epoll_event nothing{};
  // EEXIST: the same file has had the same number before.
  return ::epoll_ctl(epoll, operation, fd, &nothing) == 0 || (operation == EPOLL_CTL_ADD && errno == EEXIST);
}

// False if the epoll exists (then the file cannot be polled), or the system refuses epolls: another descriptor would
// not help.
bool lacks_descriptor_for_epoll() noexcept {
  if (is_epoll_ours(std::bit_cast<owned_number>(epoll_of_duplicates.load(memory_order_acquire)))) return false;
  const unique_fd another{::epoll_create1(EPOLL_CLOEXEC)};
  return !another && (errno == EMFILE || errno == ENFILE);
}

}  // namespace

// The mark belongs to the open file, which all duplicates share.
bool private_fd::is_of_library(int fd) noexcept {
  const errno_kept around;
  return ::fcntl(fd, F_GETSIG) == mark();
}

// With a low limit, the lowest number of the upper quarter.
int private_fd::lowest_number() noexcept {
  const auto limit = number_limit();
  const auto upper_quarter = limit - limit / 4;
  return std::max(first_unreserved, static_cast<int>(std::min<rlim_t>(upper_quarter, usual_lowest)));
}

// All eventfds have one inode. Without the epoll, the duplicate of an eventfd could not be distinguished from another
// eventfd of the program that gets the number later. So the call fails if only a descriptor for the epoll is missing.
private_fd private_fd::duplicate_of(int program_fd) noexcept {
  private_fd made{duplicate(program_fd, lowest_number(), first_unreserved), false, first_unreserved};
  made.identity_.program_fd = program_fd;
  if (!made && errno == EINVAL) errno = EMFILE;  // the limit is lower than the lowest number that was asked for
  if (!made || made.identity_.by == identity::kind::in_epoll || !lacks_descriptor_for_epoll()) return made;
  made.reset();
  errno = EMFILE;
  return {};
}

private_fd::private_fd(unique_fd fd, bool is_sole_owner, int lowest) noexcept {
  if (!fd) return;
  const errno_kept around;
  if (fd.get() < lowest)
    if (auto high = duplicate(fd.get(), lowest, first_unreserved)) fd = std::move(high);
  token_ = note_owner(fd.get());
  struct stat status{};
  if (is_sole_owner && ::fcntl(fd.get(), F_SETSIG, mark()) == 0) {
    identity_.by = identity::kind::mark;
  } else if (!is_sole_owner && is_known_to_epoll(fd.get(), EPOLL_CTL_ADD)) {
    identity_.by = identity::kind::in_epoll;
    identity_.epoll = token_of_epoll();
  } else if (::fstat(fd.get(), &status) == 0) {
    identity_.device = status.st_dev;
    identity_.inode = status.st_ino;
  }
  fd_ = fd.release();
}

// Relaxed: the kernel reuses a number only after the descriptor has been closed, and a thread that knows of the younger
// owner has synchronized with it by other means.
bool private_fd::is_superseded() const noexcept { return has_younger_owner(fd_, token_); }

private_fd::verified_scope::verified_scope(const private_fd* just_verified) noexcept { verified = just_verified; }
private_fd::verified_scope::~verified_scope() { verified = nullptr; }

bool private_fd::is_ours() const noexcept {
  if (verified == this) return fd_ >= 0 && !is_superseded();
  return verify();
}

bool private_fd::verify() const noexcept {
  if (fd_ < 0 || is_superseded()) return false;
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

bool private_fd::is_doubtful() const noexcept {
  return identity_.by == identity::kind::in_epoll &&
         (identity_.epoll != token_of_epoll() || identity_.epoll == lost_epoll.load(memory_order_relaxed));
}

bool private_fd::refers_to_its_file() const noexcept {
  if (is_ours()) return true;
  if (fd_ < 0 || is_superseded() || !is_doubtful()) return false;
  const errno_kept around;
  return compare_files(fd_, identity_.program_fd).value_or(false);
}

void private_fd::reset() noexcept {
  if (fd_ < 0) return;
  const uncancelled here;
  if (is_ours()) ::close(fd_);
  fd_ = -1;
}

}  // namespace doorbell::base
