// SPDX-License-Identifier: Apache-2.0
//
// engine_uring: requests carried out by io_uring. Linux 5.10 and later; newer features are probed.
//
// Locks: submission_lock_ and completion_lock_ are leaves, each for one of the two queues. Neither is held while the
// other is taken, nor while anything of doorbell's is called.
#pragma once

#include <liburing.h>

#include <memory>
#include <system_error>

#include <doorbell/base/mutex.hpp>

#include "engine.hpp"

namespace doorbell::aio {

class engine_uring final : public engine {
 public:
  /// @param in_flight how many requests there may be at once.
  /// Errors: what io_uring_setup(2) says.
  static std::unique_ptr<engine_uring> make(unsigned in_flight, std::error_code& ec) noexcept;
  ~engine_uring() override;

  [[nodiscard]] std::string_view name() const noexcept override { return "io_uring"; }
  [[nodiscard]] std::size_t start(std::span<request* const> requests) noexcept override;
  [[nodiscard]] bool takes_many_by_one_call() const noexcept override { return true; }
  [[nodiscard]] bool cancel(request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<completion> completions) noexcept override;
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override;
  void abandon_in_child() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override { return ring_.ring_fd; }

 private:
  engine_uring() = default;

  [[nodiscard]] io_uring_sqe* next_entry() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] bool submit(io_uring_sqe* entry) noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] bool try_wake() noexcept;
  [[nodiscard]] unsigned flush() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] std::size_t start_some(std::span<request* const> requests) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(submission_lock_);
  [[nodiscard]] unsigned reap_some(std::span<completion> completions, std::size_t& filled) noexcept
      DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(completion_lock_);

  io_uring ring_{};  // the two queues are guarded by the two locks; the descriptor is constant
  base::mutex submission_lock_;
  base::mutex completion_lock_;
};

}  // namespace doorbell::aio
