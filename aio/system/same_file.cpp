// SPDX-License-Identifier: Apache-2.0
#include "same_file.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <doorbell/base/private_fd.hpp>
#include <doorbell/base/same_file.hpp>
#include <doorbell/base/unique_fd.hpp>

namespace doorbell::aio {
bool is_same_file_by_epoll(int one, int other) noexcept {
  const base::unique_fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  const base::unique_fd third{::fcntl(one, F_DUPFD_CLOEXEC, base::private_fd::lowest_number())};
  epoll_event nothing{};
  return epoll && third && ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, third.get(), &nothing) == 0 &&
         ::dup3(other, third.get(), O_CLOEXEC) == third.get() &&
         ::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, third.get(), &nothing) == 0;
}

bool is_same_file(int one, int other) noexcept {
  if (const auto same = base::compare_files(one, other)) return *same;
  return is_same_file_by_epoll(one, other);
}

}  // namespace doorbell::aio
