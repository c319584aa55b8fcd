// SPDX-License-Identifier: Apache-2.0
#include "file_hints.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <bit>

namespace doorbell::aio {
namespace {

file_hints::kind look_at(int fd) noexcept {
  using kind = file_hints::kind;
  struct stat about{};
  if (::fstat(fd, &about) != 0) return kind::other;
  const bool is_file = S_ISREG(about.st_mode);
  if (!is_file && !S_ISBLK(about.st_mode)) return kind::other;
  struct statfs where{};
  if (is_file && ::fstatfs(fd, &where) == 0 && (where.f_type == TMPFS_MAGIC || where.f_type == RAMFS_MAGIC))
    return kind::memory;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return kind::other;
  return (flags & O_DIRECT) != 0 ? kind::direct : kind::cached;
}

}  // namespace

file_hints::entry file_hints::load(int fd) noexcept {
  // A word of zeroes is an entry for descriptor 0 with no uses left.
  return std::bit_cast<entry>(at(fd).load(base::memory_order_relaxed));
}

void file_hints::store(const entry& known) noexcept {
  static_assert(sizeof(entry) == sizeof(std::uint64_t));
  at(known.fd).store(std::bit_cast<std::uint64_t>(known), base::memory_order_relaxed);
}

file_hints::kind file_hints::of(int fd) noexcept {
  auto known = load(fd);
  if (known.fd != fd) known = {.fd = fd};
  if (known.uses == 0) {
    known.what = look_at(fd);
    known.uses = most_uses;
  }
  --known.uses;
  const bool skipped = known.skip > 0;
  if (skipped) --known.skip;
  store(known);
  return skipped ? kind::other : known.what;
}

void file_hints::hit(int fd) noexcept {
  auto known = load(fd);
  if (known.fd != fd || known.row == -enough_hits) return;
  known.row = static_cast<std::int8_t>(std::min<int>(known.row, 0) - 1);
  store(known);
}

void file_hints::missed(int fd) noexcept {
  auto known = load(fd);
  if (known.fd != fd) return;
  known.row = static_cast<std::int8_t>(std::min(2 * std::max<int>(known.row, 0) + 1, int{most_misses}));
  known.skip = static_cast<std::uint8_t>(known.row);
  store(known);
}

bool file_hints::has_hits_in_a_row(int fd) noexcept {
  const auto known = load(fd);
  return known.fd == fd && known.row == -enough_hits;
}

}  // namespace doorbell::aio
