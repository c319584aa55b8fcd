// SPDX-License-Identifier: Apache-2.0
//
// Kernel eventfds that requests signal, and the expected number of signals of each.
//
// The program may close one and use its number for another while requests are in flight: they signal the eventfd that
// they named when they were submitted. So each file is kept open by a descriptor that the program does not know.
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

class aio_bells {
 public:
  static constexpr std::size_t count = 2;

  /// Before each input.
  void renew() {
    files_.clear();
    for (std::size_t bell = 0; bell < count; ++bell) {
      numbers_.at(bell).reset(made());
      keep(bell);
    }
  }

  [[nodiscard]] int descriptor(std::size_t bell) const { return numbers_.at(bell).get(); }

  /// Another eventfd at the same number.
  void replace(std::size_t bell) {
    const base::unique_fd other{made()};
    require(::dup3(other.get(), descriptor(bell), O_CLOEXEC) >= 0, "a number can be used again");
    keep(bell);
  }

  /// The file that the number refers to now, for expect().
  [[nodiscard]] std::size_t file(std::size_t bell) const { return current_.at(bell); }
  void expect(std::size_t file) { ++files_.at(file).expected; }

  /// To be called when no request is in flight any more.
  void check() const {
    for (const auto& each : files_) {
      eventfd_t rung = 0;
      if (::eventfd_read(each.kept.get(), &rung) != 0) rung = 0;
      const auto missing = static_cast<long long>(each.expected) - static_cast<long long>(rung);
      require(missing == 0, "each request taken rings its eventfd once, that which it named at the time", missing);
    }
  }

 private:
  struct one_file {
    base::unique_fd kept;
    std::uint64_t expected = 0;
  };

  static int made() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    require(fd > 2, "there are eventfds to fuzz with");
    return fd;
  }

  void keep(std::size_t bell) {
    current_.at(bell) = files_.size();
    files_.push_back({.kept = base::unique_fd{::fcntl(descriptor(bell), F_DUPFD_CLOEXEC, 3)}});
  }

  std::array<base::unique_fd, count> numbers_;
  std::array<std::size_t, count> current_{};
  std::vector<one_file> files_;
};

}  // namespace doorbell::fuzz
