// SPDX-License-Identifier: Apache-2.0
#include <doorbell/aio.hpp>

#include <doorbell/base/fatal.hpp>
#include <doorbell/base/uncancelled.hpp>

#include "call.hpp"
#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

void throw_if(const std::error_code& ec, const char* what) {
  if (ec) throw std::system_error{ec, what};
}

// No context has the handle 0.
kioctx_user enter(unsigned long handle, std::uint64_t serial) noexcept {
  auto user = ioctx_table::process().lookup(handle);
  if (user && user->serial() != serial) return {};
  return user;
}

// For a call in a signal handler that has interrupted another call.
void refuse(std::error_code& ec) noexcept { ec = std::make_error_code(std::errc::resource_unavailable_try_again); }

// Sets `ec`: success, or invalid_argument if there is no such context.
kioctx_user enter(unsigned long handle, std::uint64_t serial, std::error_code& ec) noexcept {
  auto user = enter(handle, serial);
  ec = user ? std::error_code{} : std::make_error_code(std::errc::invalid_argument);
  return user;
}

}  // namespace

context::context(unsigned nr_events, engine_kind carried_by, std::error_code& ec) noexcept {
  const base::uncancelled until_return;
  ec.clear();
  const call inside;
  if (!inside) [[unlikely]] {
    refuse(ec);
    return;
  }
  const auto made = kioctx::make(nr_events, carried_by, ec);
  handle_ = made.handle;
  serial_ = made.serial;
}

context::context(unsigned nr_events, engine_kind carried_by) {
  std::error_code ec;
  *this = context{nr_events, carried_by, ec};
  throw_if(ec, "doorbell: io_setup");
}

context::~context() {
  if (handle_ == 0) return;  // moved from, or no context was made, for example because a signal handler was refused one
  std::error_code ec;
  destroy(ec);
  // If destroy() was refused, requests in flight would still write into buffers that the program may free, so the
  // program ends.
  if (ec == std::errc::resource_deadlock_would_occur)
    base::fatal("a context was destroyed in a callback; its requests would write into memory that is freed",
                "docs/eventfd.md, In a callback");
  if (ec == std::errc::resource_unavailable_try_again)
    base::fatal("a context was destroyed in a signal handler that interrupted a call of the library",
                "docs/aio.md, Signals");
}

std::size_t context::submit(std::span<iocb* const> iocbs, std::error_code& ec) noexcept {
  const base::uncancelled until_return;
  const call inside;
  if (!inside) [[unlikely]] {
    refuse(ec);
    return 0;
  }
  const auto user = enter(handle_, serial_, ec);
  return user ? user->submit(iocbs, ec) : 0;
}

std::size_t context::submit(std::span<iocb* const> iocbs) {
  std::error_code ec;
  const auto taken = submit(iocbs, ec);
  throw_if(ec, "doorbell: io_submit");
  return taken;
}

std::optional<std::int64_t> context::read_inline(iocb& request) noexcept {
  const base::uncancelled until_return;
  const call inside;
  if (!inside) [[unlikely]]
    return std::nullopt;
  const auto user = enter(handle_, serial_);
  return user ? user->read_inline(request) : std::nullopt;
}

std::span<io_event> context::get(std::size_t min, std::span<io_event> events, std::optional<clock::time_point> deadline,
                                 std::error_code& ec) noexcept {
  const base::uncancelled until_return;
  base::refusals_remembered since_now;
  const call inside;
  if (!inside) [[unlikely]] {
    since_now.was_refused();
    ec = std::make_error_code(std::errc::interrupted);
    return {};
  }
  auto user = enter(handle_, serial_, ec);
  if (!user) return {};
  if (min > events.size()) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return {};
  }
  const bool may_wait = min > 0 && (!deadline || *deadline > clock::now());
  if (may_wait && eventfd_ctx::in_callback()) {
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
    return {};
  }
  return events.first(user->get_events(min, events, {.may_wait = may_wait, .until = deadline, .me = &user}, ec));
}

std::span<io_event> context::get(std::size_t min, std::span<io_event> events,
                                 std::optional<clock::time_point> deadline) {
  std::error_code ec;
  const auto got = get(min, events, deadline, ec);
  throw_if(ec, "doorbell: io_getevents");
  return got;
}

void context::cancel(iocb& request, std::error_code& ec) noexcept {
  const base::uncancelled until_return;
  const call inside;
  if (!inside) [[unlikely]] {
    refuse(ec);
    return;
  }
  const auto user = enter(handle_, serial_, ec);
  if (user) user->cancel(request, ec);
}

void context::cancel(iocb& request) {
  std::error_code ec;
  cancel(request, ec);
  throw_if(ec, "doorbell: io_cancel");
}

void context::destroy(std::error_code& ec) noexcept {
  const base::uncancelled until_return;
  const call inside;
  if (!inside) [[unlikely]] {
    refuse(ec);
    return;
  }
  auto user = enter(handle_, serial_, ec);
  if (!user) return;
  auto& ctx = *user.operator->();
  if (eventfd_ctx::in_callback())
    ec = std::make_error_code(std::errc::resource_deadlock_would_occur);
  else
    ctx.destroy(std::move(user), ec);
}

void context::destroy() {
  std::error_code ec;
  destroy(ec);
  throw_if(ec, "doorbell: io_destroy");
}

int context::descriptor(std::error_code& ec) const noexcept {
  const base::uncancelled until_return;
  const call inside;
  if (!inside) [[unlikely]] {
    refuse(ec);
    return -1;
  }
  const auto user = enter(handle_, serial_, ec);
  const int found = user ? user->descriptor() : -1;
  if (user && found < 0) ec = std::make_error_code(std::errc::too_many_files_open);
  return found;
}

int context::descriptor() const {
  std::error_code ec;
  const int found = descriptor(ec);
  throw_if(ec, "doorbell: no descriptor for the context");
  return found;
}

unsigned long context::handle() const noexcept {
  const call inside;
  if (!inside) [[unlikely]]
    return handle_;
  const auto user = enter(handle_, serial_);
  return user ? user->key() : 0;
}

std::string_view context::engine() const noexcept {
  const call inside;
  if (!inside) [[unlikely]]
    return {};
  const auto user = enter(handle_, serial_);
  return user ? user->engine_name() : std::string_view{};
}

}  // namespace doorbell::aio
