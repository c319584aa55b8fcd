// SPDX-License-Identifier: Apache-2.0
#include <doorbell/aio.hpp>

#include <exception>
#include <utility>

#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

void throw_if(const std::error_code& ec, const char* what) {
  if (ec) throw std::system_error{ec, what};
}

}  // namespace

context::context(unsigned nr_events, std::error_code& ec) noexcept {
  ec.clear();
  kioctx_ = kioctx::make(nr_events, ec);
}

context::context(unsigned nr_events) {
  std::error_code ec;
  kioctx_ = kioctx::make(nr_events, ec);
  throw_if(ec, "doorbell: io_setup");
}

context::context(context&&) noexcept = default;

context& context::operator=(context&& other) noexcept {
  context{std::move(other)}.kioctx_.swap(kioctx_);
  return *this;
}

context::~context() {
  if (kioctx_ == nullptr) return;
  std::error_code ec;
  kioctx_->destroy(ec);
  // In a callback: requests would go on writing into buffers whose owner believes them done.
  if (ec == std::errc::resource_deadlock_would_occur) std::terminate();
}

std::size_t context::submit(std::span<iocb* const> iocbs, std::error_code& ec) noexcept {
  ec.clear();
  if (kioctx_ != nullptr) return kioctx_->submit(iocbs, ec);
  ec = std::make_error_code(std::errc::invalid_argument);
  return 0;
}

std::size_t context::submit(std::span<iocb* const> iocbs) {
  std::error_code ec;
  const auto taken = submit(iocbs, ec);
  throw_if(ec, "doorbell: io_submit");
  return taken;
}

std::span<io_event> context::get(std::size_t min, std::span<io_event> events, std::optional<clock::time_point> deadline,
                                 std::error_code& ec) noexcept {
  ec.clear();
  if (kioctx_ == nullptr) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return {};
  }
  const bool may_wait = min > 0 && (!deadline || *deadline > clock::now());
  if (may_wait && eventfd_ctx::in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return {};
  }
  return events.first(kioctx_->get_events(min, events, deadline, may_wait, ec));
}

std::span<io_event> context::get(std::size_t min, std::span<io_event> events,
                                 std::optional<clock::time_point> deadline) {
  std::error_code ec;
  const auto got = get(min, events, deadline, ec);
  throw_if(ec, "doorbell: io_getevents");
  return got;
}

void context::cancel(iocb& request, std::error_code& ec) noexcept {
  ec.clear();
  if (kioctx_ != nullptr)
    kioctx_->cancel(request, ec);
  else
    ec = std::make_error_code(std::errc::invalid_argument);
}

void context::cancel(iocb& request) {
  std::error_code ec;
  cancel(request, ec);
  throw_if(ec, "doorbell: io_cancel");
}

void context::destroy(std::error_code& ec) noexcept {
  ec.clear();
  if (kioctx_ != nullptr)
    kioctx_->destroy(ec);
  else
    ec = std::make_error_code(std::errc::invalid_argument);
}

void context::destroy() {
  std::error_code ec;
  destroy(ec);
  throw_if(ec, "doorbell: io_destroy");
}

void* context::handle() const noexcept { return kioctx_ != nullptr ? kioctx_->handle() : nullptr; }

std::string_view context::engine() const noexcept {
  return kioctx_ != nullptr ? kioctx_->engine_name() : std::string_view{};
}

}  // namespace doorbell::aio
