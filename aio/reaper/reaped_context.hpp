// SPDX-License-Identifier: Apache-2.0
//
// reaped_context: the interface by which the reaper uses contexts. The reaper is below the contexts and does not
// include their headers.
#pragma once

#include <array>
#include <utility>

namespace doorbell::aio {

class reaped_context {
 public:
  reaped_context(const reaped_context&) = delete;
  reaped_context& operator=(const reaped_context&) = delete;

  /// Enters the context, unless it is being destroyed. destroy() waits for leave(). The memory of the context must
  /// exist.
  [[nodiscard]] virtual bool try_enter() noexcept = 0;
  virtual void leave() noexcept = 0;

  // Called with the reaper's lock held.

  /// The descriptors that become readable when there are completions; -1: none. Without a descriptor, the reaper looks
  /// at the context regularly if must_be_looked_at() is true; otherwise reaper::watch() fails.
  [[nodiscard]] virtual std::array<int, 2> descriptors() const noexcept = 0;
  [[nodiscard]] virtual bool must_be_looked_at() const noexcept = 0;
  [[nodiscard]] virtual bool has_requests() const noexcept = 0;
  /// Whether there are requests, and the program reads their events from the ring without a call.
  [[nodiscard]] virtual bool has_requests_of_ring_reader() const noexcept = 0;

  // Called by a thread that has entered the context.

  /// Completes finished requests until a thread of the program does so itself.
  virtual void reap_for_others() noexcept = 0;
  /// Called about once a second, for contexts whose ring the reaper does not fill.
  virtual void on_round() noexcept = 0;

 protected:
  reaped_context() = default;
  ~reaped_context() = default;
};

/// A thread inside a context. Null: the thread could not enter.
class reaped_context_user {
 public:
  explicit reaped_context_user(reaped_context* entered) noexcept : ctx_{entered} {}
  reaped_context_user(reaped_context_user&& other) noexcept : ctx_{std::exchange(other.ctx_, nullptr)} {}
  reaped_context_user& operator=(reaped_context_user&&) = delete;
  ~reaped_context_user() {
    if (ctx_ != nullptr) ctx_->leave();
  }

  [[nodiscard]] explicit operator bool() const noexcept { return ctx_ != nullptr; }
  [[nodiscard]] reaped_context* operator->() const noexcept { return ctx_; }
  [[nodiscard]] reaped_context& operator*() const noexcept { return *ctx_; }

 private:
  reaped_context* ctx_;
};

}  // namespace doorbell::aio
