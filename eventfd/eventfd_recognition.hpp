// SPDX-License-Identifier: Apache-2.0
//
// Distinguishes a kernel eventfd from all other files. No function changes the file, signals a thread, or blocks.
//
// Thread safety: all functions may be called concurrently.
#pragma once

namespace doorbell {

/// Whether `fd` returns the same results as an eventfd for three system calls that transfer no data. Needs no /proc,
/// io_uring or kernel AIO:
///   - fstat(2): it has the anonymous inode, whose mode has no type. Files without it do not get the writes below;
///   - write(2) from an address at which there is no memory: of 7 bytes EINVAL, of 8 bytes EFAULT. An eventfd checks
///     the length first. Files that cannot be written to answer EINVAL or EBADF to both;
///   - ioctl(2) FIONREAD: ENOTTY. A fanotify group answers the writes as an eventfd does, but has FIONREAD.
/// Source: eventfd_write() of the Linux kernel, 2.6.22 to 6.18.
[[nodiscard]] bool answers_as_eventfd(int fd) noexcept;

/// Whether fdinfo describes `fd` as an eventfd. False if fdinfo cannot be read.
[[nodiscard]] bool is_eventfd_by_fdinfo(int fd) noexcept;

/// Whether `fd` refers to an eventfd. The first check is cheaper and works without /proc. The second is for systems
/// whose eventfds answer differently (qemu-user checks addresses before lengths).
[[nodiscard]] inline bool is_eventfd(int fd) noexcept { return answers_as_eventfd(fd) || is_eventfd_by_fdinfo(fd); }

}  // namespace doorbell
