// SPDX-License-Identifier: Apache-2.0
#include "inline_io.hpp"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <span>
#include <string_view>

#include "../request/operation.hpp"
#include "../system/user_memory.hpp"
#include "transfer.hpp"

namespace doorbell::aio {
namespace {

std::uint64_t total(std::span<const iovec> buffers) noexcept {
  return std::accumulate(buffers.begin(), buffers.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const iovec& each) { return sum + each.iov_len; });
}

// pread(2) takes 10% less time than preadv2(2).
std::int64_t read_plainly(int fd, std::span<const iovec> buffers, std::int64_t offset, int flags) noexcept {
  if (buffers.size() == 1 && flags == 0) return ::pread(fd, buffers[0].iov_base, buffers[0].iov_len, offset);
  return ::preadv2(fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags);
}

// Stores `buffers` without their first `done` bytes in `room`, as many buffers as fit.
std::span<const iovec> rest_of(std::span<const iovec> buffers, std::uint64_t done, std::span<iovec> room) noexcept {
  std::size_t count = 0;
  for (const auto& each : buffers) {
    const auto skipped = std::min<std::uint64_t>(done, each.iov_len);
    done -= skipped;
    if (skipped == each.iov_len) continue;
    if (count == room.size()) break;
    room[count++] = {.iov_base = static_cast<char*>(each.iov_base) + skipped, .iov_len = each.iov_len - skipped};
  }
  return room.first(count);
}

// fstat(2) does not report the size of a block device.
bool ends_at(int fd, std::uint64_t offset) noexcept {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) <= offset;
}

// The kernel also returns EAGAIN while another thread briefly holds a lock of the file or of the page, although the
// page is in the cache. So this retries, but only for a file whose last reads were all hits: reads from the disk must
// not pay for extra calls.
// @param[in,out] retries the number of retries so far.
std::int64_t read_without_waiting(int fd, std::span<const iovec> buffers, std::int64_t offset, int flags,
                                  file_hints& hints, int& retries) noexcept {
  constexpr int most_retries = 2;
  for (;;) {
    const auto got = ::preadv2(fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags | RWF_NOWAIT);
    if (got >= 0 || errno != EAGAIN || retries == most_retries || !hints.has_hits_in_a_row(fd)) return got;
    ++retries;
  }
}

// A read that returns fewer bytes than requested has reached the end of the file, a page that is not in the cache, or a
// buffer that is not mapped. The return value does not distinguish the first two cases: Linux 5.9 and 5.10 return 0 for
// both (readv(2), BUGS). The size of the file does. -EFAULT means that the page is in the cache, so a read that may
// wait would return the same error.
std::optional<std::int64_t> read_cached(int fd, std::span<const iovec> buffers, std::int64_t offset, int flags,
                                        file_hints& hints) noexcept {
  constexpr int most_reads = 4;
  const auto wanted = total(buffers);
  if (wanted > max_transfer) return std::nullopt;
  std::array<iovec, 8> room;
  auto left = buffers;
  std::int64_t done = 0;
  int retries = 0;
  for (int reads = 0; reads < most_reads; ++reads) {
    const auto got = read_without_waiting(fd, left, offset + done, flags, hints, retries);
    if (got < 0 && errno != EFAULT) return std::nullopt;
    if (got < 0) return done > 0 ? done : -EFAULT;
    done += got;
    if (static_cast<std::uint64_t>(done) == wanted || ends_at(fd, static_cast<std::uint64_t>(offset + done)))
      return done;
    if (got == 0) return std::nullopt;
    left = rest_of(buffers, static_cast<std::uint64_t>(done), room);
  }
  return std::nullopt;
}

// @return the number of bytes read, or -EFAULT. Nothing: the engine must carry the read out.
std::optional<std::int64_t> read_from(int fd, file_hints::kind hint, std::span<const iovec> buffers,
                                      std::int64_t offset, int flags, file_hints& hints) noexcept {
  switch (hint) {
    case file_hints::kind::other:
    case file_hints::kind::direct:
      return std::nullopt;
    case file_hints::kind::memory: {
      const auto got = read_plainly(fd, buffers, offset, flags);
      if (got < 0) return errno == EFAULT ? std::optional<std::int64_t>{-EFAULT} : std::nullopt;
      return got;
    }
    case file_hints::kind::cached:
      break;
  }
  const auto answer = read_cached(fd, buffers, offset, flags, hints);
  if (answer)
    hints.hit(fd);
  else
    hints.missed(fd);
  return answer;
}

iovec buffer_of(const iocb_abi& asked) noexcept {
  return {.iov_base = reinterpret_cast<void*>(static_cast<std::uintptr_t>(asked.buf)), .iov_len = asked.nbytes};
}

// try_read_inline() reads before the request is checked. If the read faults, submit may have to refuse the request
// instead of reporting -EFAULT in an event. @return whether submit would accept its length and its buffer.
bool is_taken_by_submit(const iocb_abi& asked) noexcept {
  constexpr auto max_offset = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return asked.nbytes <= max_offset - static_cast<std::uint64_t>(asked.offset) &&
         in_user_half(buffer_of(asked).iov_base, asked.nbytes);
}

}  // namespace

bool is_plain_read(const iocb_abi& asked) noexcept {
  return operation_of(asked) == opcode::pread && asked.rw_flags == 0 && asked.reserved2 == 0 &&
         (asked.flags & iocb_abi::flag_ioprio) == 0 && asked.nbytes > 0 && asked.offset >= 0;
}

bool reads_block() noexcept {
  static const bool do_they = [] {
    const char* const asked = ::secure_getenv("DOORBELL_READS");
    if (asked == nullptr || *asked == '\0') return false;
    if (std::string_view{asked} == "block") return true;
    std::fprintf(stderr, "doorbell: DOORBELL_READS=%s is unknown; the only value is block\n", asked);
    return false;
  }();
  return do_they;
}

std::optional<std::int64_t> try_read_inline(const iocb_abi& asked, file_hints::kind hint, file_hints& hints) noexcept {
  const auto buffer = buffer_of(asked);
  const auto answer = read_from(asked.fildes, hint, {&buffer, 1}, asked.offset, 0, hints);
  return answer == -EFAULT && !is_taken_by_submit(asked) ? std::nullopt : answer;
}

request::inline_policy when_to_try(const request& checked, const file_facts& file, bool as_the_kernel, bool was_tried,
                                   file_hints& hints) noexcept {
  using when = request::inline_policy;
  const bool is_file = S_ISREG(file.type) || S_ISBLK(file.type);
  if (!is_file || !is_transfer(checked.iocb)) return when::never;
  if (is_read(checked.iocb) && as_the_kernel && !file.is_direct && reads_block()) return when::always;
  // equivalent fault (returned): when::never is 0
  if ((checked.iocb.flags & iocb_abi::flag_ioprio) != 0) return when::never;
  if (is_read(checked.iocb))
    return file.is_direct || (was_tried && is_plain_read(checked.iocb)) ? when::never : when::first;
  if (hints.of(checked.iocb.fildes) == file_hints::kind::memory) return when::always;
  const bool waits = file.is_direct || file.is_synced || (checked.iocb.rw_flags & (RWF_DSYNC | RWF_SYNC)) != 0;
  return as_the_kernel && !waits ? when::always : when::never;
}

std::optional<std::int64_t> transfer_inline(const request& checked, file_hints& hints) noexcept {
  const auto& asked = checked.iocb;
  if (!is_read(checked.iocb) || checked.inline_io == request::inline_policy::always)
    return carry_out(checked, asked.fildes);
  // The kernel's AIO truncates the length to MAX_RW_COUNT before it checks the buffer; pread(2) does not.
  // try_read_inline() does not truncate, because submit may refuse the length of an unchecked request.
  auto buffer = buffer_of(asked);
  buffer.iov_len = static_cast<std::size_t>(std::min(asked.nbytes, max_transfer));
  const auto buffers = is_vectored(asked) ? checked.buffers() : std::span{&buffer, 1};
  return read_from(asked.fildes, hints.of(asked.fildes), buffers, asked.offset, asked.rw_flags, hints);
}

}  // namespace doorbell::aio
