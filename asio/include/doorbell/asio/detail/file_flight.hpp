// SPDX-License-Identifier: Apache-2.0
//
// file_flight: the operations on files that are with the engine, by way of an aio::context of their own: how they get there, and back.
//
// Thread safety: belongs to whoever has it.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <system_error>

#include <doorbell/aio.hpp>
#include <doorbell/asio/detail/file_op.hpp>
#include <doorbell/asio/detail/open_file.hpp>

namespace doorbell::asio::detail {

class file_flight {
 public:
  static constexpr std::size_t batch = 64;

  /// @return whether nothing is with the engine.
  [[nodiscard]] bool empty() const noexcept { return ops_.empty(); }
  [[nodiscard]] bool is_open() const noexcept { return context_ != nullptr; }

  /// @return a descriptor that is readable while there is something to reap; -1, and `ec` is set, when there is no context to be had.
  [[nodiscard]] int open(std::error_code& ec) noexcept {
    context_.reset(new (std::nothrow) aio::context{at_once, ec});
    if (context_ == nullptr) ec = std::make_error_code(std::errc::not_enough_memory);
    return ec ? -1 : context_->descriptor(ec);
  }

  /// Waits until the engine has let go of all of them. In a fork's child it has never had them.
  /// @return them.
  file_op_queue close() noexcept {
    context_.reset();
    file_op_queue landed;
    landed.swap(ops_);
    return landed;
  }

  /// Hands as many of those that are ready to the engine as go by one call.
  /// Errors: resource_unavailable_try_again (there are too many); what the first of them is refused for.
  void take(file_op_queue& ready, std::error_code& ec) noexcept {
    std::array<aio::iocb*, batch> requests;
    const auto offered = offer(ready, std::span{requests}.first(most_at_once(ready)));
    take_off(ready, context_->submit(std::span<aio::iocb* const>{requests}.first(offered), ec), offered);
  }

  /// Carries out a read now, if that does not wait. @return the res of its
  /// event; nothing when it has had no effect.
  [[nodiscard]] std::optional<std::int64_t> read_inline(aio::iocb& request) noexcept {
    return context_->read_inline(request);
  }

  /// Fetches events of what the engine has let go of, as far as there is room.
  [[nodiscard]] std::span<const aio::io_event> reap(std::span<aio::io_event> room) noexcept {
    if (empty()) return {};
    std::error_code ec;
    const auto events = context_->get_events(0, room, ec);
    for (const auto& event : events) ops_.erase(ops_.iterator_to(*static_cast<file_op*>(event.data)));
    return events;
  }

  /// Asks for its end. If that cannot be asked now, it runs to it.
  void cancel(file_op& op) noexcept {
    std::error_code ec;
    context_->cancel(op.request(), ec);
  }

 private:
  static constexpr unsigned at_once = 512;
  static constexpr std::size_t first_batch = 8;

  // An idle disk is given a few first: it would be so until the call that has them all returns.
  [[nodiscard]] std::size_t most_at_once(const file_op_queue& ready) const noexcept {
    return empty() && ready.front().file->facts().is_direct ? first_batch : batch;
  }

  // Where they will be is said while they are at hand: when submit returns, what it has read fills the caches.
  [[nodiscard]] static std::size_t offer(file_op_queue& ready, std::span<aio::iocb*> requests) noexcept {
    std::size_t count = 0;
    for (auto at = ready.begin(); at != ready.end() && count < requests.size(); ++at) {
      at->where = file_op::place::in_flight;
      requests[count++] = &at->request();
    }
    return count;
  }

  void take_off(file_op_queue& ready, std::size_t taken, std::size_t offered) noexcept {
    if (taken == ready.size()) {
      ops_.splice(ops_.end(), ready);
      return;
    }
    const auto refused = std::next(ready.begin(), static_cast<std::ptrdiff_t>(taken));
    ops_.splice(ops_.end(), ready, ready.begin(), refused, taken);
    std::for_each_n(refused, offered - taken, [](file_op& op) { op.where = file_op::place::ready; });
  }

  std::unique_ptr<aio::context> context_;
  file_op_queue ops_;
};

}  // namespace doorbell::asio::detail
