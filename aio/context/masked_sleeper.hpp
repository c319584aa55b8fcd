// SPDX-License-Identifier: Apache-2.0
//
// masked_sleeper: a thread that waits with a signal mask of its own (io_pgetevents). Only ppoll(2) and similar calls
// set the mask and sleep in one step, so the thread cannot sleep on a futex. It waits for the engine's descriptors, and
// for an eventfd of its own, which announces everything else.
#pragma once

#include <boost/intrusive/list.hpp>

#include <doorbell/base/futex.hpp>
#include <doorbell/base/private_fd.hpp>

#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <tuple>

#include "../engine/engine.hpp"

namespace doorbell::aio {

class masked_sleeper : public boost::intrusive::list_base_hook<> {
 public:
  /// False, with errno, if no descriptor could be made.
  masked_sleeper() noexcept
      : fd_{base::private_fd::with_number_of(base::unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)})} {}
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

  // Fails only if the count is at its maximum, and then the descriptor is readable already.
  void wake() const noexcept {
    if (fd_.is_ours()) std::ignore = ::eventfd_write(fd_.get(), 1);
  }

  [[nodiscard]] engine::wait_result sleep(const std::array<int, 2>& of_engine, base::deadline until,
                                          const sigset_t* mask) const noexcept {
    std::array<pollfd, 3> readable{pollfd{.fd = of_engine[0], .events = POLLIN, .revents = 0},
                                   pollfd{.fd = of_engine[1], .events = POLLIN, .revents = 0},
                                   pollfd{.fd = fd_.get(), .events = POLLIN, .revents = 0}};
    timespec left{};
    if (until) left = base::time_left(*until);
    const int ready = ::ppoll(readable.data(), readable.size(), until ? &left : nullptr, mask);
    if (ready == 0) return engine::wait_result::timed_out;
    // equivalent fault (comparison): 0 has been answered
    return ready < 0 && errno == EINTR ? engine::wait_result::interrupted : engine::wait_result::ready;
  }

 private:
  const base::private_fd fd_;
};

}  // namespace doorbell::aio
