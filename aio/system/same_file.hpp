// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace doorbell::aio {

/// Whether two descriptors refer to the same open file description of a pollable file. Uses one system call if the
/// kernel has it: fcntl(2) F_DUPFD_QUERY, since Linux 6.10; else kcmp(2). If kcmp(2) is missing or forbidden, uses a
/// temporary epoll. Needs no /proc. False if there are no descriptors for the epoll.
[[nodiscard]] bool is_same_file(int one, int other) noexcept;

/// The comparison by an epoll alone. An epoll knows a file by its number and by the file itself:
///
///   a third number is a duplicate of `one`     and is added to the epoll
///   it is a duplicate of `other` now           the epoll still knows it <=> the file is the same
[[nodiscard]] bool is_same_file_by_epoll(int one, int other) noexcept;

}  // namespace doorbell::aio
