// SPDX-License-Identifier: Apache-2.0
#include "aio_program.hpp"

#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <climits>

#include <doorbell/aio_iocb.hpp>

namespace doorbell::test {
namespace {

using kind = operation::kind;
using aio::opcode;

constexpr std::array names{
    "setup",     "destroy", "destroy twice", "submit",  "submit badly", "cancel",    "get all", "get some",
    "get badly", "fill",    "empty",         "stop up", "make room",    "shut down", "hang up", "exchange numbers"};
constexpr std::array files{"pipe",
                           "nonblocking pipe",
                           "eventfd",
                           "socket",
                           "nonblocking eventfd",
                           "nonblocking socket",
                           "pipe writer",
                           "memory file",
                           "disk file",
                           "read-only file",
                           "write-only file",
                           "directory",
                           "epoll",
                           "path",
                           "null device",
                           "appended file",
                           "direct file",
                           "synced file",
                           "block device",
                           "closed"};
static_assert(files.size() == targets);

constexpr std::array transfers{opcode::pread, opcode::pread, opcode::pwrite, opcode::preadv, opcode::pwritev};
constexpr std::array poll_bits{POLLIN,     POLLPRI,    POLLOUT,    POLLERR,    POLLHUP, POLLNVAL,
                               POLLRDNORM, POLLRDBAND, POLLWRNORM, POLLWRBAND, POLLMSG, POLLRDHUP};
constexpr std::array stores{target::memory_file, target::memory_file, target::memory_file, target::disk_file,
                            target::disk_file,   target::append_file, target::direct_file};

std::uint16_t number(opcode one) { return static_cast<std::uint16_t>(one); }

bool is_vectored(const request_spec& one) {
  return one.opcode == number(opcode::preadv) || one.opcode == number(opcode::pwritev);
}

class generator {
 public:
  explicit generator(std::uint64_t seed) : random_{seed} {}

  // Few programs set up contexts, because the kernel takes 30 ms to destroy one.
  aio_program program() {
    aio_program made;
    const bool may_set_up = random_.one_in(40);
    for (auto left = 1 + random_.below(16); left > 0; --left) made.push_back(one(may_set_up));
    return made;
  }

 private:
  operation one(bool may_set_up) {
    operation made;
    made.context = static_cast<unsigned>(may_set_up ? random_.below(contexts) : random_.below(20) == 0);
    made.how = static_cast<unsigned>(random_.below(16));
    made.what = random_kind(may_set_up);
    switch (made.what) {
      case kind::setup:
        made.number =
            random_.one_of(std::array{1U, 8U, 64U, 300U, 0U, 0x80000000U, 0x80000001U, 0xffffffffU, 4194305U});
        break;
      case kind::submit:
      case kind::submit_badly:
        if (random_.one_in(40)) {
          made.requests = many();
          break;
        }
        for (auto left = 1 + random_.below(4); left > 0; --left) made.requests.push_back(request());
        for (const auto& each : std::vector{made.requests})
          if (must_be_alone(each)) made.requests = {each};
        if (random_.one_in(10)) made.end = random_.one_of(std::array{list_end::null, list_end::kernels_half});
        break;
      case kind::cancel:
        made.number = static_cast<unsigned>(random_.below(submitted_ + 1));
        break;
      case kind::get_all:
      case kind::get_some:
        made.get = static_cast<manner>(random_.below(4));
        break;
      case kind::exchange_numbers:
        made.number = static_cast<unsigned>(random_.below(std::uint64_t{targets} * targets));
        break;
      default:
        made.number = static_cast<unsigned>(random_.below(sources));
    }
    return made;
  }

  kind random_kind(bool may_set_up) {
    if (may_set_up && random_.one_in(3))
      return random_.one_of(std::array{kind::setup, kind::setup, kind::setup, kind::destroy, kind::destroy_twice});
    return random_.one_of(std::array{kind::submit, kind::submit, kind::submit, kind::submit, kind::submit_badly,
                                     kind::cancel, kind::cancel, kind::get_all, kind::get_some, kind::get_badly,
                                     kind::fill, kind::fill, kind::empty, kind::stop_up, kind::make_room,
                                     kind::shut_down, kind::hang_up, kind::exchange_numbers});
  }

  /// More requests than one batch of io_submit.
  std::vector<request_spec> many() {
    std::vector<request_spec> made;
    for (auto left = 60 + random_.below(40); left > 0; --left) {
      auto next = request();
      if (!must_be_alone(next)) made.push_back(next);
    }
    return made;
  }

  request_spec request() {
    request_spec made;
    switch (random_.below(8)) {
      case 0:
      case 1:
      case 2:
        made = poll();
        break;
      case 3:
        made.opcode = number(random_.one_of(std::array{opcode::fsync, opcode::fdsync}));
        made.file = random_.one_of(
            std::array{target::memory_file, target::pipe, target::null_device, target::eventfd, target::block_device});
        break;
      case 4:
        made = transfer();
        made.file = static_cast<target>(random_.below(sources + 1));
        made.bytes = random_.one_of(std::array{0U, 1U, 8U, 8U, 20U});
        if (random_.one_in(2)) made.offset = 0;
        break;
      default:
        made = transfer();
        if (!is_write(made) && random_.one_in(5)) make_fail(made);
    }
    made.number = ++submitted_;
    // The kernel's AIO refuses to write to an eventfd. Doorbell cannot detect that before Linux 6.9, and writes.
    if (is_eventfd(made.file) && is_write(made)) made.opcode = number(opcode::pread);
    if (random_.one_in(3)) made.efd = random_.one_of(std::array{eventfd_choice::first, eventfd_choice::second});
    if (random_.one_in(4)) spoil(made);
    // A write to a pipe that fails on its buffer wakes the reader, and the kernel's poll completes for that wakeup.
    if (changes_a_source(made) && made.buffer != where::own) {
      made.buffer = where::own;
      made.bytes = 8;
    }
    return made;
  }

  request_spec poll() {
    request_spec made;
    made.opcode = number(opcode::poll);
    made.file = static_cast<target>(random_.below(sources + 1));
    if (random_.one_in(6)) made.file = random_.one_in(2) ? target::memory_file : target::block_device;
    made.events = random_mask();
    // A wakeup of a socket names urgent data, too, even if there is none. The kernel's poll completes for that wakeup,
    // whereas doorbell checks the socket.
    if (is_socket(made.file)) made.events &= ~std::uint64_t{POLLPRI | POLLRDBAND};
    return made;
  }

  /// @return no bit, one, two, all, or random bits.
  std::uint64_t random_mask() {
    const auto bit = [this] { return static_cast<std::uint64_t>(random_.one_of(poll_bits)); };
    switch (random_.below(8)) {
      case 0:
        return 0;
      case 1:
        return 0xffff;
      case 2:
        return random_.below(0x10000);
      case 3:
      case 4:
        return bit() | bit();  // NOLINT(misc-redundant-expression): two random bits
      case 5:
        return POLLIN;
      default:
        return bit();
    }
  }

  /// Makes the read fault: all of its memory is read-only, or the second buffer is.
  void make_fail(request_spec& read) {
    if (is_vectored(read) && random_.one_in(2))
      read.shape = vectors::second_read_only;
    else
      read.buffer = where::read_only;
  }

  request_spec transfer() {
    request_spec made;
    made.opcode = number(random_.one_of(transfers));
    made.file = random_.one_of(stores);
    if (random_.one_in(50)) made.file = target::synced_file;
    if (random_.one_in(50)) made.file = target::block_device;
    if (made.file == target::direct_file) return direct(made);
    made.bytes = is_vectored(made) ? random_.below(4) : random_.below(200);
    if (is_vectored(made) && random_.one_in(5)) {
      made.shape = vectors::small;
      made.bytes = 5 + random_.below(40);
    }
    // A write at an offset never extends its file, so that the count of a read does not depend on whether it precedes a
    // write. A write that appends does, and is alone in its submit.
    made.offset = static_cast<std::int64_t>(random_.below(is_write(made) ? 7900 : 9000));
    if (made.file == target::append_file) {
      made.offset = static_cast<std::int64_t>(random_.below(300));
      if (random_.one_in(4)) made.rw_flags = random_.one_of(std::array{0x10, 0x20, RWF_DSYNC});
    }
    return made;
  }

  /// One or two blocks, or a length, offset or buffer that O_DIRECT refuses.
  request_spec direct(request_spec made) {
    const auto block = static_cast<std::int64_t>(direct_block);
    const bool is_second = random_.one_in(2);
    made.offset = is_second ? block : 0;
    made.bytes = is_second || random_.one_in(2) ? direct_block : 2 * direct_block;
    if (is_vectored(made)) made.bytes /= direct_block;
    if (!is_write(made) && random_.one_in(4)) made.offset = random_.one_of(std::array{block, 2 * block, 3 * block});
    if (!random_.one_in(6)) return made;
    if (!is_vectored(made)) made.bytes = random_.one_of(std::array{0U, 100U, 512U, 512U});
    if (random_.one_in(2)) made.offset += random_.one_of(std::array{1, 512});
    if (random_.one_in(2)) made.buffer = where::odd;
    return made;
  }

  // RWF_NOWAIT is left out, because a read with this flag may be short on one side only.
  void spoil(request_spec& made) {
    switch (random_.below(14)) {
      case 0:
        made.reserved = 1;
        break;
      case 1:
        made.bytes = std::uint64_t{1} << 63;
        if (is_vectored(made) && random_.one_in(2)) made.bytes = 1025;
        break;
      case 12:
        made.bytes = SSIZE_MAX;
        made.buffer = where::null;
        break;
      case 2:
        made.file = random_.one_of(std::array{target::read_only_file, target::write_only_file, target::directory,
                                              target::epoll, target::path, target::closed});
        made.bytes %= 200;
        break;
      case 3:
        made.efd = random_.one_of(std::array{eventfd_choice::closed, eventfd_choice::no_eventfd});
        break;
      case 4:
        made.opcode = random_.one_of(std::array<std::uint16_t, 4>{4, 6, 9, 0xffff});
        break;
      case 5:
        made.more_flags = random_.one_of(std::array{2U, 4U, 0x80000000U, 2U});
        made.priority = static_cast<std::int16_t>(random_.one_of(std::array{0, 1, 2 << 13, 3 << 13, -1, 0x6007}));
        break;
      case 6:
        made.rw_flags =
            random_.one_of(std::array{1 << 30, RWF_HIPRI, RWF_HIPRI, RWF_DSYNC, RWF_SYNC, 0x30, 0x31, -1, 0x200, 0x80});
        break;
      case 7:
        made.buffer = random_.one_of(std::array{where::null, where::kernels_half});
        break;
      case 8:
      case 9:
        made.offset = random_.one_of(std::array{std::int64_t{-1}, std::int64_t{LONG_MIN}, std::int64_t{LONG_MAX},
                                                std::int64_t{LONG_MAX - 20}, std::int64_t{1}});
        break;
      case 10:
        made.shape = random_.one_of(std::array{vectors::bad_address, vectors::bad_length, vectors::both_bad});
        break;
      default:
        made.events |= 0x10000;
    }
  }

  random_numbers random_;
  unsigned submitted_ = 0;
};

void print(std::ostream& out, const request_spec& one) {
  out << "\n      #" << one.number << " opcode " << one.opcode << " of " << files[static_cast<std::size_t>(one.file)]
      << ", " << one.bytes << " at " << one.offset;
  if (one.opcode == number(opcode::poll)) out << ", events " << one.events;
  if (one.buffer != where::own) out << ", bad buffer " << static_cast<int>(one.buffer);
  if (one.shape != vectors::good) out << ", bad vectors " << static_cast<int>(one.shape);
  if (one.rw_flags != 0) out << ", rw_flags " << one.rw_flags;
  if (one.more_flags != 0) out << ", flags " << one.more_flags << " priority " << one.priority;
  if (one.efd != eventfd_choice::none) out << ", eventfd " << static_cast<int>(one.efd);
  if (one.reserved != 0) out << ", reserved2";
}

}  // namespace

bool is_transfer(const request_spec& one) {
  return std::find(transfers.begin(), transfers.end(), static_cast<opcode>(one.opcode)) != transfers.end();
}

bool is_write(const request_spec& one) {
  return one.opcode == number(opcode::pwrite) || one.opcode == number(opcode::pwritev);
}

bool changes_a_source(const request_spec& one) { return is_transfer(one) && one.file <= target::pipe_writer; }

bool must_be_alone(const request_spec& one) {
  return changes_a_source(one) || (is_write(one) && one.file == target::append_file);
}

aio_program random_aio_program(std::uint64_t seed) { return generator{seed}.program(); }

std::vector<operation> simpler(const operation& one) {
  std::vector<operation> all;
  if (const auto half = one.requests.size() / 2; half > 1) {
    all.assign(2, one);
    all[0].requests.resize(half);
    all[1].requests.erase(all[1].requests.begin(), all[1].requests.begin() + static_cast<std::ptrdiff_t>(half));
  }
  for (std::size_t at = 0; at < one.requests.size() && one.requests.size() > 1; ++at) {
    all.push_back(one);
    all.back().requests.erase(all.back().requests.begin() + static_cast<std::ptrdiff_t>(at));
  }
  for (std::size_t at = 0; at < one.requests.size(); ++at) {
    if (one.requests[at].efd == eventfd_choice::none) continue;
    all.push_back(one);
    all.back().requests[at].efd = eventfd_choice::none;
  }
  return all;
}

std::ostream& operator<<(std::ostream& out, const operation& one) {
  out << names[static_cast<std::size_t>(one.what)] << ", context " << one.context << ", number " << one.number
      << ", how " << one.how << ", end " << static_cast<int>(one.end) << ", get " << static_cast<int>(one.get);
  for (const auto& each : one.requests) print(out, each);
  return out;
}

}  // namespace doorbell::test
