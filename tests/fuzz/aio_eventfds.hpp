// SPDX-License-Identifier: Apache-2.0
//
// Kernel eventfds that requests signal, and the expected number of signals of each.
//
// The program may close an eventfd and reuse its number for another while requests are in flight. The requests signal
// the eventfd that the number referred to at submission. Therefore a second descriptor keeps each file open.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <doorbell/base/unique_fd.hpp>

#include "require.hpp"

namespace doorbell::fuzz {

class aio_eventfds {
 public:
  static constexpr std::size_t count = 2;

  /// Creates new eventfds. Called before each input.
  void renew() {
    files_.clear();
    for (std::size_t efd = 0; efd < count; ++efd) {
      numbers_.at(efd).reset(made());
      keep(efd);
    }
  }

  [[nodiscard]] int descriptor(std::size_t efd) const { return numbers_.at(efd).get(); }

  /// Puts another eventfd at the same number.
  void replace(std::size_t efd) {
    const base::unique_fd other{made()};
    require(::dup3(other.get(), descriptor(efd), O_CLOEXEC) >= 0, "a number can be reused");
    keep(efd);
  }

  /// The file that the number refers to now, for expect().
  [[nodiscard]] std::size_t file(std::size_t efd) const { return current_.at(efd); }
  void expect(std::size_t file) { ++files_.at(file).expected; }

  /// Checks all counts. Call it when no request is in flight any more.
  void check() const {
    for (const auto& each : files_) {
      eventfd_t signals = 0;
      if (::eventfd_read(each.kept.get(), &signals) != 0) signals = 0;
      const auto missing = static_cast<long long>(each.expected) - static_cast<long long>(signals);
      require(missing == 0, "each accepted request signals the eventfd of its submission once", missing);
    }
  }

 private:
  struct one_file {
    base::unique_fd kept;
    std::uint64_t expected = 0;
  };

  static int made() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    require(fd > 2, "an eventfd can be created");
    return fd;
  }

  void keep(std::size_t efd) {
    current_.at(efd) = files_.size();
    files_.push_back({.kept = base::unique_fd{::fcntl(descriptor(efd), F_DUPFD_CLOEXEC, 3)}});
  }

  std::array<base::unique_fd, count> numbers_;
  std::array<std::size_t, count> current_{};
  std::vector<one_file> files_;
};

}  // namespace doorbell::fuzz
