// SPDX-License-Identifier: Apache-2.0
#include "aio_requests.hpp"

#include <linux/fs.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <cstring>

namespace doorbell::fuzz {
namespace {

using aio::iocb_abi;
using aio::opcode;

constexpr std::uint16_t number(opcode one) noexcept { return static_cast<std::uint16_t>(one); }

constexpr std::array opcodes{number(opcode::pread),  number(opcode::pwrite),  number(opcode::poll),
                             number(opcode::preadv), number(opcode::pwritev), number(opcode::fsync),
                             number(opcode::fdsync), std::uint16_t{4},        std::uint16_t{6},
                             std::uint16_t{9},       std::uint16_t{0xffff}};
constexpr std::array<std::uint64_t, 6> lengths{0,         UINT64_MAX, std::uint64_t{1} << 63,
                                               SSIZE_MAX, 0x7ffff000, 0x80000000};
constexpr std::array<std::int64_t, 6> offsets{-1, LONG_MIN, LONG_MAX, LONG_MAX - 20, INT64_C(1) << 40, 1};
constexpr std::array<std::int32_t, 10> flags{RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND,
                                             0x30,      0x40,      0x80,     1 << 30,    -1};

// A slot's page contains the iovecs, and then their buffers.
constexpr std::size_t iovecs_room = 1024;
constexpr std::size_t most_iovecs = 4;

/// Whether the file ignores written data: such files accept more bytes than the buffer has, and sanitizers do not
/// detect it.
bool takes_anything(file one) noexcept { return one == file::null_device || one == file::zeroes; }

std::uint64_t address(const std::byte* at) noexcept { return reinterpret_cast<std::uintptr_t>(at); }

/// An address without memory: null, the kernel's half, or a guard page.
std::uint64_t nowhere(input& bytes, std::uint64_t guard) {
  return bytes.one_of(std::array<std::uint64_t, 4>{0, kernels_half, guard, UINT64_MAX - 7});
}

/// True in a quarter of all cases.
bool spoilt(input& bytes) { return bytes.byte() >= 0xc0; }

std::uint64_t length(input& bytes) {
  return spoilt(bytes) ? bytes.one_of(lengths) : bytes.number<std::uint16_t>() % 600;
}

// Each iovec has its own part of the page. The last part ends at the end of the page.
void decide_on_vectors(slot& made, input& bytes, std::uint64_t guard, bool must_be_there) {
  auto& request = made.request;
  std::array<iovec, most_iovecs> vectors{};
  const auto part = (made.memory.size() - iovecs_room) / most_iovecs;
  auto* base = made.memory.data() + iovecs_room;
  for (auto& each : vectors) {
    each = {.iov_base = base, .iov_len = length(bytes) % part};
    base += part;
  }
  auto& one = vectors.at(bytes.below(most_iovecs));
  if (spoilt(bytes) && !must_be_there)
    one.iov_base = reinterpret_cast<void*>(static_cast<std::uintptr_t>(nowhere(bytes, guard)));
  if (spoilt(bytes) && !must_be_there) vectors.back().iov_len = bytes.one_of(lengths);
  std::memcpy(made.memory.data(), vectors.data(), sizeof vectors);
  request.buf = address(made.memory.data());
  // Other counts would make the library read buffers as iovecs, except counts so large that the page ends first.
  request.nbytes = spoilt(bytes)
                       ? bytes.one_of(std::array<std::uint64_t, 5>{1024, 1025, UINT32_MAX, SSIZE_MAX, 1U << 31})
                       : bytes.below(most_iovecs + 1);
}

void decide_on_buffer(slot& made, input& bytes, bool must_be_there) {
  const auto room = std::min<std::size_t>(made.memory.size(), 1 + std::size_t{bytes.byte()} * 16);
  made.request.buf = address(made.memory.data() + (made.memory.size() - room));
  made.request.nbytes = length(bytes);
  if (must_be_there) made.request.nbytes %= room;
}

std::optional<std::size_t> decide_on_eventfd(iocb_abi& request, input& bytes, const aio_files& files,
                                             const aio_eventfds& efds) {
  const auto choice = bytes.below(8);
  if (choice < 4) return std::nullopt;
  request.flags |= iocb_abi::flag_resfd;
  if (choice < 4 + aio_eventfds::count) {
    request.resfd = static_cast<std::uint32_t>(efds.descriptor(choice - 4));
    return efds.file(choice - 4);
  }
  request.resfd = static_cast<std::uint32_t>(files.descriptor(choice == 7 ? file::memory_file : file::closed));
  return std::nullopt;
}

void spoil(iocb_abi& request, input& bytes) {
  switch (bytes.below(8)) {
    case 0:
      request.reserved2 = bytes.number<std::uint64_t>();
      break;
    case 1:
      request.flags |= iocb_abi::flag_ioprio;
      request.reqprio = bytes.number<std::int16_t>();
      break;
    case 2:
      request.rw_flags = bytes.one_of(flags);
      break;
    case 3:
      request.offset = bytes.one_of(offsets);
      break;
    case 4:
      request.flags |= bytes.number<std::uint32_t>() & ~iocb_abi::flag_resfd;
      break;
    case 5:
      request.lio_opcode = bytes.number<std::uint16_t>();
      break;
    case 6:
      request.rw_flags = bytes.number<std::int32_t>();
      break;
    default:
      request.key = bytes.number<std::uint32_t>();
  }
}

}  // namespace

bool reads(const iocb_abi& request) noexcept {
  return request.lio_opcode == number(opcode::pread) || request.lio_opcode == number(opcode::preadv);
}

std::optional<std::size_t> decide_on(slot& made, input& bytes, const aio_files& files, const aio_eventfds& efds,
                                     std::uint64_t guard) {
  auto& request = made.request = {};
  request.data = &made;
  request.lio_opcode = bytes.one_of(opcodes);
  const auto which = static_cast<file>(bytes.below(file_count));
  made.on = which;
  request.fildes = files.descriptor(which);
  made.ends_by_itself = is_store(which);
  switch (static_cast<opcode>(request.lio_opcode)) {  // a new opcode is added to `opcodes`, too
    case opcode::preadv:
    case opcode::pwritev:
      decide_on_vectors(made, bytes, guard, takes_anything(which));
      break;
    case opcode::poll:
      // If spoil() makes this the address of a buffer, no memory is mapped there.
      request.buf = spoilt(bytes) ? bytes.number<std::uint32_t>() & 0x1ffff : bytes.byte();
      break;
    case opcode::pread:
    case opcode::pwrite:
      decide_on_buffer(made, bytes, takes_anything(which));
      break;
    case opcode::fsync:
    case opcode::fdsync:
      break;
  }
  if (is_store(which) && request.nbytes > 0) request.offset = bytes.number<std::uint16_t>() % 9000;
  const auto efd = decide_on_eventfd(request, bytes, files, efds);
  if (spoilt(bytes) && !takes_anything(which)) request.buf = nowhere(bytes, guard);
  if (spoilt(bytes)) spoil(request, bytes);
  return efd;
}

}  // namespace doorbell::fuzz
