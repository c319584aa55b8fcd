// SPDX-License-Identifier: Apache-2.0
//
// Shared by the scenarios of the parts of the I/O threads: files, and a set of I/O threads with its descriptor table. A
// file is an eventfd of the model checker; its count is the number of bytes written.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <system_error>

#include <doorbell/base/mutex.hpp>
#include <doorbell/base/unique_fd.hpp>

#include "engine/threads/file_channel.hpp"
#include "engine/threads/file_pins.hpp"
#include "engine/threads/poller.hpp"
#include "engine/threads/wakeup_fd.hpp"
#include "scenario.hpp"
#include "seam/kernel.hpp"
#include "system/private_table.hpp"
#include "system/raw_calls.hpp"

namespace doorbell::model {

using base::unique_fd;
using ticket = aio::file_pins::ticket;

[[nodiscard]] inline unique_fd make_file() { return unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}; }
/// Another descriptor of the file.
[[nodiscard]] inline unique_fd same_file(const unique_fd& file) {
  return unique_fd{::fcntl(file.get(), F_DUPFD_CLOEXEC, 0)};
}
inline void write_byte(const unique_fd& file) {
  const std::uint64_t one = 1;
  REQUIRE(::write(file.get(), &one, sizeof one) == sizeof one);
}
/// The number of bytes written since the last call.
[[nodiscard]] inline std::uint64_t bytes_in(const unique_fd& file) {
  std::uint64_t count = 0;
  return ::read(file.get(), &count, sizeof count) == sizeof count ? count : 0;
}

/// The pins and the poller of a set of I/O threads. The threads of the scenario do the work of the I/O threads.
class io_threads_parts {
 public:
  io_threads_parts() {
    REQUIRE(!channel.open() && !wakeup.open());
    const std::array kept{channel.receiving_end(), wakeup.number()};
    REQUIRE(!aio::enter_private_table(kept));
    table_ = this_table();
    REQUIRE(!waits.open());
    use_table(0);
    channel.close_receiving_end();
  }
  ~io_threads_parts() {
    channel.abandon();
    wakeup.abandon();
  }
  io_threads_parts(const io_threads_parts&) = delete;
  io_threads_parts& operator=(const io_threads_parts&) = delete;

  /// While it exists, the calling thread uses the I/O threads' descriptor table.
  class scope {
   public:
    explicit scope(const io_threads_parts& of) { use_table(of.table_); }
    ~scope() { use_table(0); }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
  };

  /// Called in a thread of the program.
  [[nodiscard]] ticket pin(int fd, aio::file_pins::sharing share = aio::file_pins::sharing::allowed) {
    std::error_code ec;
    const auto made = pins.pin(fd, share, ec);
    REQUIRE(!ec);
    return made;
  }
  /// Called in an I/O thread. Writes a byte to a request's file.
  void write(ticket pinned) { REQUIRE(aio::raw::add_to_eventfd(pins.number(pinned))); }
  /// Called in an I/O thread. Carries out a request, and unpins its file.
  void carry_out(ticket pinned) {
    write(pinned);
    pins.unpin(pinned);
  }

  /// Starts the poller's thread.
  void start_poller() {
    const auto body = [](void* self) noexcept {
      auto& all = *static_cast<io_threads_parts*>(self);
      use_table(all.table_);
      for (;;) {
        all.waits.poll_once(1000);
        all.pins.sweep();
      }
    };
    start_in_background("poller", body, this);
  }

  aio::file_channel channel;
  aio::wakeup_fd wakeup;
  aio::file_pins pins{channel, wakeup, 0};
  aio::poller waits{pins, wakeup};

 private:
  unsigned table_ = 0;
};

/// Hands requests from a submitter to a worker.
class mailbox {
 public:
  void put(ticket one) {
    const base::mutex_lock held{lock_};
    tickets_[filled_++] = one;
    filled_some_.notify_one();
  }
  [[nodiscard]] ticket take() {
    const base::mutex_lock held{lock_};
    while (taken_ == filled_) filled_some_.wait(lock_);
    return tickets_[taken_++];
  }

 private:
  base::mutex lock_;
  base::condition_variable filled_some_;
  std::array<ticket, 4> tickets_ DOORBELL_GUARDED_BY(lock_){};
  unsigned filled_ DOORBELL_GUARDED_BY(lock_) = 0;
  unsigned taken_ DOORBELL_GUARDED_BY(lock_) = 0;
};

}  // namespace doorbell::model
