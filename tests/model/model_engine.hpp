// SPDX-License-Identifier: Apache-2.0
//
// model_engine: the engine of the scenarios, with a device that a thread of the scenario plays. It fulfils the contract
// in engine.hpp, and does everything as late as the contract allows. The device exists as long as there is a reference
// to it.
//
// Thread safety: all members may be called concurrently, except wait(), which one thread at a time may call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/mutex.hpp>
#include <doorbell/base/unique_fd.hpp>

#include "engine/engine.hpp"

namespace doorbell::model {

class device {
 public:
  /// Returns the device of the context that was created last, once; then nullptr.
  [[nodiscard]] static std::shared_ptr<device> take_last() noexcept;
  /// For scenarios that do not need the device.
  static void forget_last() noexcept { [[maybe_unused]] const auto unwanted = take_last(); }

  device();

  /// From now on a cancel has no effect: started requests run until complete_one() completes them.
  void ignore_cancels() { stubborn_ = true; }
  /// The next cancel fails with try_again, as if the engine had no room for it.
  void refuse_next_cancel() { busy_ = true; }
  /// From now on each reap returns at most one completion.
  void give_singly() { singly_ = true; }
  /// Completes a request. Waits until there is one.
  void complete_one();
  /// Completes a request if there is one. @return whether there was one.
  bool complete_one_if_any();

  // For the engine.
  void start(std::span<aio::request* const> requests);
  [[nodiscard]] bool cancel(aio::request& started);
  [[nodiscard]] std::size_t reap(std::span<aio::completion> completions) noexcept;
  [[nodiscard]] bool wait(base::deadline until);
  void wake() noexcept;
  [[nodiscard]] bool is_idle();
  [[nodiscard]] std::uint64_t files_done() const noexcept { return files_done_.load(base::memory_order_seq_cst); }
  /// Created on first use.
  [[nodiscard]] int descriptor();
  void close_descriptor();

 private:
  void complete_first_locked();
  void notify_locked();

  base::mutex lock_;
  base::condition_variable started_some_;
  base::condition_variable changed_;  // for wait()
  std::vector<aio::request*> in_flight_;
  std::vector<aio::completion> completed_;
  base::atomic<std::uint64_t> files_done_{0};
  bool woken_ = false;
  bool busy_ = false;
  base::unique_fd descriptor_;  // an eventfd
  bool stubborn_ = false;       // constant while there are threads
  bool singly_ = false;         // likewise
};

class model_engine final : public aio::engine {
 public:
  model_engine();
  ~model_engine() override;

  [[nodiscard]] std::string_view name() const noexcept override { return "model"; }
  [[nodiscard]] std::size_t start(std::span<aio::request* const> requests) noexcept override;
  [[nodiscard]] cancel_result cancel(aio::request& started) noexcept override;
  [[nodiscard]] std::size_t reap(std::span<aio::completion> completions) noexcept override;
  [[nodiscard]] file_io file_io_done() const noexcept override { return {.carried_out = device_->files_done()}; }
  wait_result wait(base::deadline until) noexcept override;
  void wake() noexcept override { device_->wake(); }
  void abandon_in_child() noexcept override {}
  [[nodiscard]] int descriptor() const noexcept override { return device_->descriptor(); }

 private:
  const std::shared_ptr<device> device_;
};

}  // namespace doorbell::model
