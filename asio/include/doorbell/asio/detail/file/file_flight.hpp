// SPDX-License-Identifier: Apache-2.0
//
// file_flight: the file operations that have been submitted to the engine and not reaped yet, in an aio::context of
// their own.
//
// Thread safety: not thread-safe; the file_proactor's mutex protects it.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

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
#include <doorbell/asio/detail/file/file_op.hpp>
#include <doorbell/asio/detail/file/open_file.hpp>

namespace doorbell::asio::detail {

class file_flight {
 public:
  static constexpr std::size_t batch = 64;

  /// @return whether no operation is in flight.
  [[nodiscard]] bool empty() const noexcept { return ops_.empty(); }
  [[nodiscard]] bool is_open() const noexcept { return context_ != nullptr; }

  /// @return a descriptor that is readable while there are events to reap; -1 with `ec` set if the context cannot be
  /// created.
  [[nodiscard]] int open(std::error_code& ec) noexcept {
    context_.reset(new (std::nothrow) aio::context{capacity, ec});
    if (context_ == nullptr) ec = std::make_error_code(std::errc::not_enough_memory);
    return ec ? -1 : context_->descriptor(ec);
  }

  /// Destroys the context, which waits until the engine uses none of the operations any more. In the child of a fork
  /// the engine has no operations.
  /// @return the operations that were in flight.
  file_op_queue close() noexcept {
    context_.reset();
    file_op_queue landed;
    landed.swap(ops_);
    return landed;
  }

  /// Submits ready operations with one call, as many as it accepts.
  /// Errors: resource_unavailable_try_again if too many are in flight; the error of the first operation refused.
  void take(file_op_queue& ready, std::error_code& ec) noexcept {
    std::array<aio::iocb*, batch> requests;
    const auto offered = offer(ready, std::span{requests}.first(most_concurrent(ready)));
    take_off(ready, context_->submit(std::span<aio::iocb* const>{requests}.first(offered), ec), offered);
  }

  /// Executes a read inline if it does not wait. @return the res of its event; nothing if the read had no effect.
  [[nodiscard]] std::optional<std::int64_t> read_inline(aio::iocb& request) noexcept {
    return context_->read_inline(request);
  }

  /// Fetches events of completed operations, as many as fit into `room`.
  [[nodiscard]] std::span<const aio::io_event> reap(std::span<aio::io_event> room) noexcept {
    if (empty()) return {};
    std::error_code ec;
    const auto events = context_->get_events(0, room, ec);
    for (const auto& event : events) ops_.erase(ops_.iterator_to(*static_cast<file_op*>(event.data)));
    return events;
  }

  /// Asks the engine to cancel the operation. If that fails, the operation runs until it completes.
  void cancel(file_op& op) noexcept {
    std::error_code ec;
    context_->cancel(op.request(), ec);
  }

 private:
  static constexpr unsigned capacity = 512;
  static constexpr std::size_t first_batch = 8;

  // With nothing in flight the disk is idle, and would stay idle until the submission of a whole batch returns. So the
  // first batch is a small one. Only for O_DIRECT.
  [[nodiscard]] std::size_t most_concurrent(const file_op_queue& ready) const noexcept {
    return empty() && ready.front().file->facts().is_direct ? first_batch : batch;
  }

  // Sets `where` before the submission, while the operations are in the CPU's caches. Afterwards the caches hold the
  // data that the submission has read.
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
