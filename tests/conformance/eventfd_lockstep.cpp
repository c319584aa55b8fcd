// SPDX-License-Identifier: Apache-2.0
#include "eventfd_lockstep.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <span>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

namespace doorbell::test {
namespace {

constexpr int closed_descriptor = 1'000'000;

answer told(ssize_t result) { return result < 0 ? fails(errno) : succeeds(static_cast<std::uint64_t>(result)); }
answer told(std::uint64_t value, const std::error_code& ec) { return ec ? fails(ec.value()) : succeeds(value); }

answer kernels_info(int fd) {
  std::ifstream info{"/proc/self/fdinfo/" + std::to_string(fd)};
  for (std::string word; info >> word;)
    if (word == "eventfd-count:" && info >> word) return succeeds(std::stoull(word, nullptr, 16));
  return fails(EBADF);
}

}  // namespace

std::optional<std::string> eventfd_lockstep::run(const eventfd_program& program) {
  difference_.reset();
  for (auto& handle : handles_) {
    handle.kernels.reset();
    handle.doorbells = doorbell::eventfd{0};
    handle.doorbells.close();
  }
  for (const auto& one : program) {
    if (difference_) break;
    if (log_) *log_ << "  " << one << '\n';
    would_sleep(one) ? step_with_waker(one) : step(one);
  }
  return difference_;
}

void eventfd_lockstep::step(const eventfd_operation& one) {
  const auto kernels = ask_kernel(one);
  compare(one, kernels, ask_doorbell(one));
}

void eventfd_lockstep::compare(const eventfd_operation& one, const answer& kernels, const answer& doorbells) {
  if (difference_ || (kernels == doorbells && log_ == nullptr)) return;
  std::ostringstream text;
  text << one << ": kernel " << kernels << ", doorbell " << doorbells;
  if (log_) *log_ << "    " << text.str() << '\n';
  if (kernels != doorbells) difference_ = text.str();
}

bool eventfd_lockstep::would_sleep(const eventfd_operation& one) const {
  const auto& asked = handles_.at(one.handle);
  if (!asked.doorbells.is_open() || (asked.flags & EFD_NONBLOCK)) return false;
  const auto count = asked.doorbells.info().count;
  if (one.what == kind::read || (one.what == kind::read_bytes && one.value >= sizeof count)) return count == 0;
  if (one.what == kind::write_bytes) return one.value == sizeof count && count == UINT64_MAX;  // the bytes are all 0
  return one.what == kind::write && one.value != UINT64_MAX && one.value >= UINT64_MAX - count;
}

// The second thread writes if the operation is a read, and reads if it is a write. A write to a semaphore is left out,
// because it may have to wait for more than one read.
void eventfd_lockstep::step_with_waker(const eventfd_operation& one) {
  const bool reads = one.what == kind::read || one.what == kind::read_bytes;
  if (!reads && (handles_.at(one.handle).flags & EFD_SEMAPHORE)) return;
  auto other = one;
  other.what = reads ? kind::write : kind::read;
  other.value = 3;
  const auto with_waker = [&](auto ask) {
    answer wakers;
    std::thread waker{[&] { wakers = ask(other); }};
    const auto own = ask(one);
    waker.join();
    return std::pair{own, wakers};
  };
  const auto kernels = with_waker([this](const auto& what) { return ask_kernel(what); });
  const auto doorbells = with_waker([this](const auto& what) { return ask_doorbell(what); });
  compare(one, kernels.first, doorbells.first);
  compare(other, kernels.second, doorbells.second);
}

int eventfd_lockstep::descriptor(unsigned handle) const {
  const auto& kernels = handles_.at(handle).kernels;
  return kernels ? kernels.get() : closed_descriptor;
}

answer eventfd_lockstep::create_in_kernel(const eventfd_operation& one) {
  const int made = ::eventfd(static_cast<unsigned>(one.value), one.flags);
  if (made < 0) return fails(errno);
  handles_.at(one.handle).kernels.reset(made);
  return succeeds(0);
}

answer eventfd_lockstep::create_in_doorbell(const eventfd_operation& one) {
  std::error_code ec;
  doorbell::eventfd made{static_cast<unsigned>(one.value), one.flags, ec};
  if (ec) return fails(ec.value());
  auto& handle = handles_.at(one.handle);
  handle.doorbells = std::move(made);
  handle.flags = one.flags;
  return succeeds(0);
}

answer eventfd_lockstep::ask_kernel(const eventfd_operation& one) {
  const int fd = descriptor(one.handle);
  std::array<std::byte, 64> bytes{};
  std::uint64_t count = one.value;
  pollfd asked{.fd = fd, .events = POLLIN | POLLOUT, .revents = 0};
  switch (one.what) {
    case kind::create:
      return create_in_kernel(one);
    case kind::duplicate:
      if (one.other != one.handle) handles_.at(one.other).kernels.reset(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
      return succeeds(0);
    case kind::close:
      return handles_.at(one.handle).kernels ? told(::close(handles_.at(one.handle).kernels.release())) : fails(EBADF);
    case kind::read: {
      const auto answer = told(::read(fd, &count, sizeof count));
      return answer.error != 0 ? answer : succeeds(count);
    }
    case kind::read_bytes:
      return told(::read(fd, bytes.data(), one.value));
    case kind::write:
      return told(::write(fd, &count, sizeof count));
    case kind::write_bytes:
      return told(::write(fd, bytes.data(), one.value));
    case kind::signal:
      if (fd != closed_descriptor) (void)signaller_.signal(fd);
      return succeeds(0);
    case kind::poll:
      ::poll(&asked, 1, 0);
      return succeeds(static_cast<std::uint64_t>(asked.revents));
    case kind::info:
      return kernels_info(fd);
  }
  return {};
}

answer eventfd_lockstep::ask_doorbell(const eventfd_operation& one) {
  auto& handle = handles_.at(one.handle);
  auto& efd = handle.doorbells;
  std::array<std::byte, 64> bytes{};
  std::error_code ec;
  std::uint64_t value = 0;
  switch (one.what) {
    case kind::create:
      return create_in_doorbell(one);
    case kind::duplicate:
      if (one.other != one.handle) {
        handles_.at(one.other).doorbells = efd;
        handles_.at(one.other).flags = handle.flags;
      }
      break;
    case kind::close:
      efd.close(ec);
      break;
    case kind::read:
      value = efd.read(ec);
      break;
    case kind::read_bytes:
      value = efd.read(std::span{bytes}.first(one.value), ec);
      break;
    case kind::write:
      efd.write(one.value, ec);
      value = sizeof value;
      break;
    case kind::write_bytes:
      value = efd.write(std::span{bytes}.first(one.value), ec);
      break;
    case kind::signal:
      if (efd.is_open()) efd.signal();
      break;
    case kind::poll:
      value = efd.poll();
      break;
    case kind::info:
      value = efd.info(ec).count;
  }
  return told(value, ec);
}

}  // namespace doorbell::test
