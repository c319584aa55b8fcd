// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/same_file.hpp>

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace doorbell::base {
namespace {

constexpr int dupfd_query = 1024 + 3;  // F_DUPFD_QUERY of linux/fcntl.h, since Linux 6.10

}  // namespace

std::optional<bool> compare_files(int one, int other) noexcept {
  if (const int same = ::fcntl(one, dupfd_query, other); same >= 0) return same == 1;
  if (errno == EBADF) return false;
  const auto me = static_cast<long>(::getpid());
  const auto order = ::syscall(SYS_kcmp, me, me, KCMP_FILE, static_cast<long>(one), static_cast<long>(other));
  if (order >= 0) return order == 0;
  return errno == EBADF ? std::optional{false} : std::nullopt;
}

}  // namespace doorbell::base
