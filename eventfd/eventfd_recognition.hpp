// SPDX-License-Identifier: Apache-2.0
//
// Tells a kernel eventfd from all other files. Neither way changes the file, signals a thread, or blocks.
//
// Thread safety: all functions may be called concurrently.
#pragma once

namespace doorbell {

/// By what the file answers to requests that transfer nothing; needs no /proc, no io_uring and no kernel AIO:
///   - fstat(2): it has the anonymous inode, whose mode has no type. No other file is written to;
///   - write(2) from an address at which there is no memory: of 7 bytes EINVAL, of 8 bytes EFAULT. An eventfd checks
///     the length first. Files that cannot be written to answer EINVAL or EBADF to both;
///   - ioctl(2) FIONREAD: ENOTTY. A fanotify group answers the writes as an eventfd does, but has FIONREAD.
/// Source: eventfd_write() of the Linux kernel, 2.6.22 to 6.18.
[[nodiscard]] bool answers_as_eventfd(int fd) noexcept;

/// By fdinfo. False where that cannot be read.
[[nodiscard]] bool is_eventfd_by_fdinfo(int fd) noexcept;

/// Whether `fd` refers to an eventfd. The first way is the cheaper one and always there. The second is for systems
/// whose eventfds answer otherwise (qemu-user checks addresses before lengths).
[[nodiscard]] inline bool is_eventfd(int fd) noexcept { return answers_as_eventfd(fd) || is_eventfd_by_fdinfo(fd); }

}  // namespace doorbell
