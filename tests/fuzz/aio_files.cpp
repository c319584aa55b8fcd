// SPDX-License-Identifier: Apache-2.0
#include "aio_files.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <string>
#include <tuple>

#include "require.hpp"
#include "support/files.hpp"

namespace doorbell::fuzz {
namespace {

constexpr off_t file_bytes = 8192;

base::unique_fd opened_again(int fd, int flags) {
  return base::unique_fd{::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_CLOEXEC)};
}

void set_nonblocking(int fd) noexcept { ::fcntl(fd, F_SETFL, O_NONBLOCK); }

}  // namespace

aio_files::aio_files() {
  at(file::timer).reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  at(file::inotify).reset(::inotify_init1(IN_CLOEXEC));
  at(file::null_device).reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  at(file::zeroes).reset(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  at(file::memory_file).reset(::memfd_create("fuzzed", MFD_CLOEXEC));
  at(file::disk_file) = test::temporary_file();
  at(file::read_only_file) = opened_again(descriptor(file::memory_file), O_RDONLY);
  at(file::write_only_file) = opened_again(descriptor(file::memory_file), O_WRONLY);
  // A sync of this file does not wait for a disk.
  at(file::directory).reset(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  at(file::epoll).reset(::epoll_create1(EPOLL_CLOEXEC));
  at(file::path).reset(::open("/", O_PATH | O_CLOEXEC));
  renew();
  require(std::ranges::all_of(made_, [](const auto& each) { return each.get() > 2; }), "the files can be created");
}

int aio_files::descriptor(file one) const noexcept {
  switch (one) {
    case file::closed:
      return -1;
    case file::never_made:
      return INT_MAX;
    case file::negative:
      return INT_MIN;
    default:
      return made_[static_cast<std::size_t>(one)].get();
  }
}

void aio_files::renew() {
  const auto writer = [&](file stream) -> auto& { return writers_[static_cast<std::size_t>(stream)]; };
  test::pipe_ends blocking;
  at(file::pipe_writer).reset(::fcntl(blocking.write.get(), F_DUPFD_CLOEXEC, 0));
  at(file::pipe) = std::move(blocking.read);
  writer(file::pipe) = std::move(blocking.write);
  test::pipe_ends nonblocking;
  set_nonblocking(nonblocking.read.get());
  at(file::nonblocking_pipe) = std::move(nonblocking.read);
  writer(file::nonblocking_pipe) = std::move(nonblocking.write);
  at(file::eventfd).reset(::eventfd(0, EFD_CLOEXEC));
  writer(file::eventfd).reset(::fcntl(descriptor(file::eventfd), F_DUPFD_CLOEXEC, 0));
  int ends[2];
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "a socket pair can be created");
  at(file::socket).reset(ends[0]);
  writer(file::socket).reset(ends[1]);
  for (const auto store : {file::memory_file, file::disk_file}) {
    std::ignore = ::ftruncate(descriptor(store), 0);
    std::ignore = ::ftruncate(descriptor(store), file_bytes);
  }
}

// Never blocks, although requests in flight may also write to the file: a full file stays full.
void aio_files::fill(std::size_t stream) noexcept {
  const int fd = writers_.at(stream).get();
  const std::uint64_t one = 1;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return;
  ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  std::ignore = ::write(fd, &one, sizeof one);
  ::fcntl(fd, F_SETFL, flags);
}

// Never blocks, although a request may take the data first.
void aio_files::empty(std::size_t stream) noexcept {
  const int fd = made_.at(stream).get();
  std::array<char, 512> bytes;
  const iovec into{.iov_base = bytes.data(), .iov_len = bytes.size()};
  std::ignore = ::preadv2(fd, &into, 1, -1, RWF_NOWAIT);
}

}  // namespace doorbell::fuzz
