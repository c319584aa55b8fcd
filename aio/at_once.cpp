// SPDX-License-Identifier: Apache-2.0
#include "at_once.hpp"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <numeric>
#include <span>

#include "operation.hpp"
#include "transfer.hpp"

namespace doorbell::aio {
namespace {

std::uint64_t total(std::span<const iovec> buffers) noexcept {
  return std::accumulate(buffers.begin(), buffers.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const iovec& each) { return sum + each.iov_len; });
}

// The plain call takes a tenth less time than the one with a list of buffers and flags.
std::int64_t read_plainly(int fd, std::span<const iovec> buffers, std::int64_t offset, int flags) noexcept {
  if (buffers.size() == 1 && flags == 0) return ::pread(fd, buffers[0].iov_base, buffers[0].iov_len, offset);
  return ::preadv2(fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags);
}

// Of a file in memory, each answer is the answer. Of a cached one, all of it is; less may be the end of the file, or what
// happens to be there; and nothing but the end of the file reads 0.
std::optional<std::int64_t> read_from(int fd, file_hints::kind hint, std::span<const iovec> buffers,
                                      std::int64_t offset, int flags, file_hints& hints) noexcept {
  switch (hint) {
    case file_hints::kind::other:
      return std::nullopt;
    case file_hints::kind::memory: {
      const auto got = read_plainly(fd, buffers, offset, flags);
      return got >= 0 ? std::optional<std::int64_t>{got} : std::nullopt;
    }
    case file_hints::kind::cached:
      break;
  }
  const auto got = ::preadv2(fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags | RWF_NOWAIT);
  if (got == 0 || (got > 0 && static_cast<std::uint64_t>(got) == total(buffers))) {
    hints.hit(fd);
    return got;
  }
  hints.missed(fd);
  return std::nullopt;
}

iovec buffer_of(const iocb_abi& asked) noexcept {
  return {.iov_base = reinterpret_cast<void*>(static_cast<std::uintptr_t>(asked.buf)), .iov_len = asked.nbytes};
}

}  // namespace

bool is_plain_read(const iocb_abi& asked) noexcept {
  return operation_of(asked) == opcode::pread && asked.rw_flags == 0 && asked.reserved2 == 0 &&
         (asked.flags & iocb_abi::flag_ioprio) == 0 && asked.nbytes > 0 && asked.offset >= 0;
}

std::optional<std::int64_t> read_at_once(const iocb_abi& asked, file_hints::kind hint, file_hints& hints) noexcept {
  const auto buffer = buffer_of(asked);
  return read_from(asked.fildes, hint, {&buffer, 1}, asked.offset, 0, hints);
}

request::try_at_once when_to_try(const request& checked, const file_facts& file, bool as_the_kernel,
                                 file_hints& hints) noexcept {
  using when = request::try_at_once;
  const bool is_file = S_ISREG(file.type) || S_ISBLK(file.type);
  if (!is_file || !is_transfer(checked.what) || (checked.what.flags & iocb_abi::flag_ioprio) != 0) return when::never;
  // A plain one has been tried before it was checked, or comes after one that was not at once.
  if (is_read(checked.what)) return file.is_direct || is_plain_read(checked.what) ? when::never : when::first;
  if (hints.of(checked.what.fildes) == file_hints::kind::memory) return when::always;
  const bool waits = file.is_direct || file.is_synced || (checked.what.rw_flags & (RWF_DSYNC | RWF_SYNC)) != 0;
  return as_the_kernel && !waits ? when::always : when::never;
}

std::optional<std::int64_t> carry_out_at_once(const request& checked, file_hints& hints) noexcept {
  const auto& asked = checked.what;
  if (!is_read(checked.what)) return carry_out(checked, asked.fildes);
  const auto buffer = buffer_of(asked);
  const auto buffers = is_vectored(asked) ? checked.buffers() : std::span{&buffer, 1};
  return read_from(asked.fildes, hints.of(asked.fildes), buffers, asked.offset, asked.rw_flags, hints);
}

}  // namespace doorbell::aio
