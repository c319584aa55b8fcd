// SPDX-License-Identifier: Apache-2.0
//
// Handles: the number of open ones, and the two forms of each call that may fail.
#include <doorbell/eventfd.hpp>

#include <cstring>
#include <new>

#include "wait_limit.hpp"

namespace doorbell {
namespace {

[[noreturn]] void fail(std::error_code ec, const char* what) { throw std::system_error{ec, what}; }

// The throwing form of every call uses the other form with a local error_code.
template <class Call>
auto throwing(const char* what, Call call) {
  std::error_code ec;
  if constexpr (std::is_void_v<decltype(call(ec))>) {
    call(ec);
    if (ec) fail(ec, what);
  } else {
    auto answer = call(ec);
    if (ec) fail(ec, what);
    return answer;
  }
}

}  // namespace

eventfd::eventfd(unsigned initial, int flags, std::error_code& ec) noexcept {
  ec.clear();
  if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return;
  }
  ctx_ = new (std::nothrow) eventfd_ctx{initial, (flags & EFD_SEMAPHORE) != 0, (flags & EFD_NONBLOCK) != 0};
  if (ctx_ == nullptr) ec = std::make_error_code(std::errc::not_enough_memory);
}

eventfd::eventfd(unsigned initial, int flags) {
  std::error_code ec;
  *this = eventfd{initial, flags, ec};
  if (ec) fail(ec, "doorbell: eventfd");
}

eventfd::eventfd(const eventfd& other) noexcept : ctx_{other.ctx_} {
  if (ctx_ != nullptr) ctx_->get_file();
}

eventfd::~eventfd() {
  if (ctx_ != nullptr) ctx_->put_file();
}

void eventfd::close(std::error_code& ec) noexcept {
  if (auto* ctx = checked(ec)) {
    ctx_ = nullptr;
    ctx->put_file();
  }
}

void eventfd::close() {
  throwing("doorbell: close", [&](auto& ec) { close(ec); });
}

void eventfd::throw_closed() { fail(std::make_error_code(std::errc::bad_file_descriptor), "doorbell: eventfd"); }

std::uint64_t eventfd::read(std::error_code& ec) const noexcept {
  auto* ctx = checked(ec);
  return ctx != nullptr ? ctx->read({.may_sleep = !ctx->non_blocking_}, ec) : 0;
}

std::uint64_t eventfd::read() const {
  return throwing("doorbell: read", [&](auto& ec) { return read(ec); });
}

#ifdef __cpp_lib_jthread
std::uint64_t eventfd::read(const std::stop_token& stop, std::error_code& ec) const noexcept {
  auto* ctx = checked(ec);
  return ctx != nullptr ? ctx->read({.may_sleep = !ctx->non_blocking_, .stop = &stop}, ec) : 0;
}

std::uint64_t eventfd::read(const std::stop_token& stop) const {
  return throwing("doorbell: read", [&](auto& ec) { return read(stop, ec); });
}
#endif

std::uint64_t eventfd::read_until(std::chrono::steady_clock::time_point deadline, std::error_code& ec) const noexcept {
  auto* ctx = checked(ec);
  return ctx != nullptr ? ctx->read({.until = deadline}, ec) : 0;
}

std::uint64_t eventfd::read_until(std::chrono::steady_clock::time_point deadline) const {
  return throwing("doorbell: read", [&](auto& ec) { return read_until(deadline, ec); });
}

std::size_t eventfd::read(std::span<std::byte> buffer, std::error_code& ec) const noexcept {
  if (checked(ec) == nullptr) return 0;
  if (buffer.size() < sizeof(std::uint64_t)) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return 0;
  }
  const auto count = read(ec);
  if (ec) return 0;
  std::memcpy(buffer.data(), &count, sizeof count);
  return sizeof count;
}

std::size_t eventfd::read(std::span<std::byte> buffer) const {
  return throwing("doorbell: read", [&](auto& ec) { return read(buffer, ec); });
}

void eventfd::write(std::uint64_t n, std::error_code& ec) const noexcept {
  if (auto* ctx = checked(ec)) ctx->write(n, {.may_sleep = !ctx->non_blocking_}, ec);
}

void eventfd::write(std::uint64_t n) const {
  throwing("doorbell: write", [&](auto& ec) { write(n, ec); });
}

#ifdef __cpp_lib_jthread
void eventfd::write(std::uint64_t n, const std::stop_token& stop, std::error_code& ec) const noexcept {
  if (auto* ctx = checked(ec)) ctx->write(n, {.may_sleep = !ctx->non_blocking_, .stop = &stop}, ec);
}

void eventfd::write(std::uint64_t n, const std::stop_token& stop) const {
  throwing("doorbell: write", [&](auto& ec) { write(n, stop, ec); });
}
#endif

void eventfd::write_until(std::uint64_t n, std::chrono::steady_clock::time_point deadline,
                          std::error_code& ec) const noexcept {
  if (auto* ctx = checked(ec)) ctx->write(n, {.until = deadline}, ec);
}

void eventfd::write_until(std::uint64_t n, std::chrono::steady_clock::time_point deadline) const {
  throwing("doorbell: write", [&](auto& ec) { write_until(n, deadline, ec); });
}

std::size_t eventfd::write(std::span<const std::byte> buffer, std::error_code& ec) const noexcept {
  if (checked(ec) == nullptr) return 0;
  std::uint64_t n = 0;  // equivalent fault (constant): memcpy(3) sets it
  if (buffer.size() != sizeof n) {
    ec = std::make_error_code(std::errc::invalid_argument);
    return 0;
  }
  std::memcpy(&n, buffer.data(), sizeof n);
  write(n, ec);
  return ec ? 0 : sizeof n;
}

std::size_t eventfd::write(std::span<const std::byte> buffer) const {
  return throwing("doorbell: write", [&](auto& ec) { return write(buffer, ec); });
}

int eventfd::poll_fd(std::error_code& ec) const noexcept {
  auto* ctx = checked(ec);
  return ctx != nullptr ? ctx->poll_fd(ec) : -1;
}

int eventfd::poll_fd() const {
  return throwing("doorbell: poll_fd", [&](auto& ec) { return poll_fd(ec); });
}

void eventfd::forward_to(int fd, std::error_code& ec) const noexcept {
  if (auto* ctx = checked(ec)) ctx->forward_to(fd, ec);
}

void eventfd::forward_to(int fd) const {
  throwing("doorbell: forward_to", [&](auto& ec) { forward_to(fd, ec); });
}

eventfd eventfd::forwarding_to(int fd, std::error_code& ec) noexcept {
  eventfd made{0, 0, ec};
  if (!ec) made.ctx_->start_forwarding(fd, ec);
  std::error_code closed;
  if (ec) made.close(closed);
  return made;
}

eventfd eventfd::forwarding_to(int fd) {
  return throwing("doorbell: forwarding_to", [&](auto& ec) { return forwarding_to(fd, ec); });
}

void eventfd::stop_forwarding(std::error_code& ec) const noexcept {
  if (auto* ctx = checked(ec)) ctx->stop_forwarding(ec);
}

void eventfd::stop_forwarding() const {
  throwing("doorbell: stop_forwarding", [&](auto& ec) { stop_forwarding(ec); });
}

eventfd_info eventfd::info(std::error_code& ec) const noexcept {
  auto* ctx = checked(ec);
  return ctx != nullptr ? ctx->info() : eventfd_info{};
}

eventfd_info eventfd::info() const {
  return throwing("doorbell: info", [&](auto& ec) { return info(ec); });
}

}  // namespace doorbell
