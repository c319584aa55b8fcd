// SPDX-License-Identifier: Apache-2.0
#include "same_file.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include <doorbell/base/private_fd.hpp>
#include <doorbell/base/unique_fd.hpp>

namespace doorbell::aio {
namespace {

// Of linux/fcntl.h, since Linux 6.10.
constexpr int dupfd_query = 1024 + 3;

}  // namespace

bool is_same_file_by_epoll(int one, int other) noexcept {
  const base::unique_fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  const base::unique_fd third{::fcntl(one, F_DUPFD_CLOEXEC, base::private_fd::lowest_number())};
  epoll_event nothing{};
  return epoll && third && ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, third.get(), &nothing) == 0 &&
         ::dup3(other, third.get(), O_CLOEXEC) == third.get() &&
         ::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, third.get(), &nothing) == 0;
}

bool is_same_file(int one, int other) noexcept {
  if (const int same = ::fcntl(one, dupfd_query, other); same >= 0) return same == 1;
  if (errno == EBADF) return false;
  const auto me = static_cast<long>(::getpid());
  if (const auto order = ::syscall(SYS_kcmp, me, me, KCMP_FILE, static_cast<long>(one), static_cast<long>(other));
      order >= 0)
    return order == 0;
  return errno != EBADF && is_same_file_by_epoll(one, other);
}

}  // namespace doorbell::aio
