// SPDX-License-Identifier: Apache-2.0
#include "unknown_descriptors.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "invariant.hpp"

namespace doorbell::soak {
namespace {

constexpr int highest = 1024;
constexpr std::string_view own_content = "a file of the program, which only the program changes";
constexpr off_t own_position = 17;
constexpr std::uint64_t own_count = 5;

// By syscall(2), which ThreadSanitizer does not intercept: it would report that the program closes descriptors while
// threads of the library use them.

void close_number(int fd) { ::syscall(SYS_close, fd); }

void close_by_loop(int first) {
  for (int fd = first; fd < highest; ++fd) close_number(fd);
}

}  // namespace

void unknown_descriptors::take(std::minstd_rand& random) {
  check_and_close_files();
  const auto others = numbers_in_use();
  const auto way = random() % 5;
  switch (way) {
    case 0:
      ::closefrom(first_);
      break;
    case 1:
      ::syscall(SYS_close_range, first_, ~0U, 0);
      break;
    case 2:
      close_by_loop(first_);
      break;
    default:
      break;
  }
  open_at_lowest(way == 4 ? kind::eventfd : kind::file);
  if (files_.empty()) return;  // RLIMIT_NOFILE is too low
  open_at_lowest(kind::file);
  open_at_lowest(kind::eventfd);
  // Replaces all numbers, or after a close some of them.
  const auto original = files_.front();
  const auto is_opened = [this](int number) {
    return std::ranges::find(files_, number, &own_file::number) != files_.end();
  };
  for (const int number : others)
    if (!is_opened(number) && (way >= 3 || random() % 2 == 0)) put_at(number, original);
}

std::vector<int> unknown_descriptors::numbers_in_use() const {
  std::vector<int> open;
  for (int fd = first_; fd < highest; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) open.push_back(fd);
  return open;
}

void unknown_descriptors::open_at_lowest(kind what) {
  int number = -1;
  if (what == kind::eventfd) {
    number = static_cast<int>(::syscall(SYS_eventfd2, own_count, EFD_CLOEXEC | EFD_NONBLOCK));
  } else {
    number = static_cast<int>(::syscall(SYS_memfd_create, "soak-own-file", MFD_CLOEXEC));
    if (number >= 0) {
      require(::pwrite(number, own_content.data(), own_content.size(), 0) == static_cast<ssize_t>(own_content.size()),
              "a file can be written", errno);
      ::lseek(number, own_position, SEEK_SET);
    }
  }
  if (number < 0) return require(errno == EMFILE, "a file can be opened", errno);
  struct stat status{};
  ::fstat(number, &status);
  files_.push_back({.number = number, .is = what, .is_duplicate = false, .inode = status.st_ino});
}

void unknown_descriptors::put_at(int number, const own_file& original) {
  if (::syscall(SYS_dup3, original.number, number, O_CLOEXEC) != number)
    return require(errno == EBADF || errno == EMFILE || errno == EBUSY, "a file can be put at a number", errno);
  files_.push_back({.number = number, .is = original.is, .is_duplicate = true, .inode = original.inode});
}

void unknown_descriptors::check(const own_file& one) {
  struct stat status{};
  if (::fstat(one.number, &status) != 0) return require(false, "the program's new file stays open", one.number);
  require(status.st_ino == one.inode, "the number still refers to the program's file", one.number);
  require(::fcntl(one.number, F_GETSIG) == 0, "the program's new file gets no mark", one.number);
  if (one.is == kind::eventfd) return;
  std::array<char, 2 * own_content.size()> there{};
  const auto bytes = ::pread(one.number, there.data(), there.size(), 0);
  require(bytes == static_cast<ssize_t>(own_content.size()) &&
              std::string_view(there.data(), own_content.size()) == own_content,
          "the program's new file keeps its content", bytes);
  const auto at = ::lseek(one.number, 0, SEEK_CUR);
  require(at == own_position, "the program's new file keeps its position", at);
}

// All duplicates of an eventfd share one count, so only the original is read.
void unknown_descriptors::check_count(const own_file& one) {
  std::uint64_t there = 0;
  const bool was_read = ::read(one.number, &there, sizeof there) == sizeof there;
  require(was_read && there == own_count, "the program's new eventfd keeps its count", static_cast<long long>(there));
}

void unknown_descriptors::check_and_close_files() {
  for (const auto& each : files_) check(each);
  for (const auto& each : files_)
    if (each.is == kind::eventfd && !each.is_duplicate) check_count(each);
  checked_ += files_.size();
  for (const auto& each : files_) close_number(each.number);
  files_.clear();
}

}  // namespace doorbell::soak
