// SPDX-License-Identifier: Apache-2.0
//
// Functions that restrict the rights or resources of the calling process, which is a child. Each function returns
// whether the restriction is in effect. Root may apply all of them; other users may if the system permits them user
// namespaces.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include <doorbell/base/unique_fd.hpp>

#include "support/child.hpp"

namespace doorbell::test {

/// Changes the root of the process to an empty folder and removes the folder, so that the process has no /proc.
[[nodiscard]] inline bool lose_proc() {
  std::array<char, 32> folder{"/var/tmp/doorbell-root-XXXXXX"};
  if (::mkdtemp(folder.data()) == nullptr) return false;
  const base::unique_fd outside{::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const bool changed = ::chroot(folder.data()) == 0 || (::unshare(CLONE_NEWUSER) == 0 && ::chroot(folder.data()) == 0);
  ::unlinkat(outside.get(), folder.data() + 1, AT_REMOVEDIR);
  return changed && ::chdir("/") == 0 && ::access("/proc/self", F_OK) != 0;
}

/// Tries lose_proc() in a child. @return whether it succeeded; it fails if chroot(2) is refused.
[[nodiscard]] inline bool can_lose_proc() {
  const pid_t child = fork_when_quiet();
  if (child == 0) ::_exit(lose_proc() ? EXIT_SUCCESS : EXIT_FAILURE);
  int status = EXIT_FAILURE;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

/// As root, changes the process to an unprivileged user. Then makes the process not dumpable: its folder in /proc now
/// belongs to root, and older kernels let only root read the files there.
[[nodiscard]] inline bool become_undumpable() {
  constexpr uid_t nobody = 65534;
  if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(nobody) != 0 || ::setuid(nobody) != 0))
    return false;
  return ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

/// Moves the process into a user namespace of its own, which maps no user.
[[nodiscard]] inline bool enter_user_namespace() { return ::unshare(CLONE_NEWUSER) == 0; }

/// One of these restrictions, with the name that tests print.
struct restriction {
  const char* name;
  bool (*apply)();
};
inline constexpr std::array restrictions{restriction{"without_proc", lose_proc},
                                         restriction{"not_dumpable", become_undumpable},
                                         restriction{"in_a_user_namespace", enter_user_namespace}};

}  // namespace doorbell::test
