// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace doorbell::aio {

/// Whether two descriptors refer to the same open file, which must be one that can be polled. One system call where the
/// kernel has it: fcntl(2) F_DUPFD_QUERY, since Linux 6.10; else kcmp(2); where that is missing or forbidden, an epoll
/// of its own. Needs no /proc. False if there are no descriptors for the last way.
[[nodiscard]] bool is_same_file(int one, int other) noexcept;

/// The last way alone. An epoll knows a file by its number and by the file itself:
///
///   a third number is a duplicate of `one`     and is added to the epoll
///   it is a duplicate of `other` now           the epoll still knows it <=> the file is the same
[[nodiscard]] bool is_same_file_by_epoll(int one, int other) noexcept;

}  // namespace doorbell::aio
