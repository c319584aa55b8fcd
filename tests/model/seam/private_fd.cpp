// SPDX-License-Identifier: Apache-2.0
//
// base::private_fd without its protection, unless the scenario has called let_program_close_ours(). The steps of the
// protection would multiply the schedules of each scenario.
#include <doorbell/base/private_fd.hpp>

#include <fcntl.h>

#include "checker/tracking.hpp"
#include "kernel.hpp"

namespace doorbell::base {

int private_fd::lowest_number() noexcept { return 3; }

private_fd private_fd::duplicate_of(int program_fd) noexcept {
  return private_fd{unique_fd{::fcntl(program_fd, F_DUPFD_CLOEXEC, 0)}, false, 0};
}

private_fd::private_fd(unique_fd fd, bool /*is_sole_owner*/, int /*lowest*/) noexcept : fd_{fd.release()} {
  identity_.inode = model::inode_of(fd_);
}

private_fd::verified_scope::verified_scope(const private_fd* /*just_verified*/) noexcept {}
private_fd::verified_scope::~verified_scope() = default;

bool private_fd::is_of_library(int /*fd*/) noexcept { return false; }

bool private_fd::is_superseded() const noexcept { return false; }
bool private_fd::is_ours() const noexcept { return verify(); }
bool private_fd::verify() const noexcept {
  const model::not_tracked here;
  return fd_ >= 0 && model::is_still(fd_, identity_.inode);
}

bool private_fd::is_doubtful() const noexcept { return false; }
bool private_fd::refers_to_its_file() const noexcept { return is_ours(); }

void private_fd::reset() noexcept {
  if (fd_ >= 0 && is_ours()) ::close(fd_);
  fd_ = -1;
}

}  // namespace doorbell::base
