// SPDX-License-Identifier: Apache-2.0
//
// The kernel's eventfd, through its system calls.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

#include <doorbell/base/unique_fd.hpp>

#include "answer.hpp"
#include "kernel_aio.hpp"

namespace doorbell::test {

class kernel_side {
 public:
  explicit kernel_side(unsigned initial = 0, int flags = 0) : fd_{::eventfd(initial, flags)} {}

  [[nodiscard]] static answer create(unsigned initial, int flags) {
    const base::unique_fd made{::eventfd(initial, flags)};
    return made ? succeeds(0) : fails(errno);
  }

  [[nodiscard]] kernel_side duplicate() const { return kernel_side{base::unique_fd{::dup(fd_.get())}}; }
  void close() { fd_.reset(); }

  [[nodiscard]] answer read() const {
    std::uint64_t count = 0;
    return ::read(fd_.get(), &count, sizeof count) < 0 ? fails(errno) : succeeds(count);
  }
  [[nodiscard]] answer read_bytes(std::size_t size) const {
    std::array<std::byte, 64> bytes{};
    return told(::read(fd_.get(), bytes.data(), size));
  }
  [[nodiscard]] answer write(std::uint64_t n) const { return told(::write(fd_.get(), &n, sizeof n)); }
  [[nodiscard]] answer write_bytes(std::size_t size) const {
    const std::array<std::byte, 64> bytes{};
    return told(::write(fd_.get(), bytes.data(), size));
  }
  [[nodiscard]] unsigned poll() const {
    pollfd asked{.fd = fd_.get(), .events = POLLIN | POLLOUT, .revents = 0};
    ::poll(&asked, 1, 0);
    return static_cast<unsigned>(asked.revents);
  }

  [[nodiscard]] static bool can_signal() { return aio().works(); }
  void signal() const { (void)aio().signal(fd_.get()); }

  /// Makes the kernel signal `to` from inside the next wake walk of `from`.
  class chain {
   public:
    chain(const kernel_side& from, const kernel_side& to) {
      (void)aio_.signal_when_readable(from.fd_.get(), to.fd_.get());
    }

   private:
    kernel_aio aio_;
  };

  /// @return 1 if `call` wakes a waiter for POLLIN, else 0. An edge-triggered epoll for POLLIN and POLLOUT reports each
  /// wakeup that names one of them, even one for POLLIN with a count of 0, because POLLOUT is ready. A second epoll,
  /// for POLLOUT only, reports a wakeup only if it names POLLOUT.
  template <class Call>
  [[nodiscard]] int pollin_wakes(Call call) const {
    const edges either{fd_.get(), EPOLLIN | EPOLLOUT};
    const edges room{fd_.get(), EPOLLOUT};
    call();
    return (either.told() ? 1 : 0) - (room.told() ? 1 : 0);
  }

  [[nodiscard]] std::uint64_t count() const { return field("eventfd-count:", 16); }
  [[nodiscard]] std::uint64_t id() const { return field("eventfd-id:", 10); }
  [[nodiscard]] bool semaphore() const { return field("eventfd-semaphore:", 10) != 0; }

  /// @return false on older kernels, which write the first 8 bytes.
  [[nodiscard]] static bool refuses_long_writes() {
    const kernel_side asked;
    return asked.write_bytes(9).error != 0;
  }
  /// @return false on older kernels, whose /proc does not show the flag.
  [[nodiscard]] static bool tells_semaphore() { return !kernel_side{}.text_of("eventfd-semaphore:").empty(); }

 private:
  class edges {
   public:
    edges(int fd, std::uint32_t events) {
      epoll_event wanted{.events = events | EPOLLET, .data = {}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted);
      (void)told();  // discards the event of the initial state
    }
    [[nodiscard]] bool told() const {
      epoll_event event{};
      return ::epoll_wait(epoll_.get(), &event, 1, 0) == 1;
    }

   private:
    base::unique_fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  };

  explicit kernel_side(base::unique_fd fd) : fd_{std::move(fd)} {}

  static kernel_aio& aio() {
    static kernel_aio shared;
    return shared;
  }

  [[nodiscard]] static answer told(ssize_t bytes) {
    return bytes < 0 ? fails(errno) : succeeds(static_cast<std::uint64_t>(bytes));
  }

  [[nodiscard]] std::string text_of(const std::string& key) const {
    std::ifstream info{"/proc/self/fdinfo/" + std::to_string(fd_.get())};
    for (std::string word; info >> word;)
      if (word == key && info >> word) return word;
    return {};
  }
  [[nodiscard]] std::uint64_t field(const std::string& key, int base) const {
    return std::stoull(text_of(key), nullptr, base);
  }

  base::unique_fd fd_;
};

}  // namespace doorbell::test
