// SPDX-License-Identifier: Apache-2.0
#include <doorbell/asio.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <doorbell/aio.hpp>

#include "invariant.hpp"
#include "load.hpp"
#include "support/files.hpp"

namespace doorbell::soak {
namespace {

using namespace std::chrono_literals;
namespace net = boost::asio;
using boost::system::error_code;

class loops final : public load {
 public:
  explicit loops(std::uint64_t seed) : random_{static_cast<std::minstd_rand::result_type>(seed)} {}
  [[nodiscard]] std::string_view name() const noexcept override { return "loops"; }
  [[nodiscard]] std::size_t threads() const noexcept override { return 3; }

  void prepare() override {
    io_.emplace(1);
    const doorbell::eventfd efd;
    listens_.emplace(*io_, efd);
    owns_.emplace(*io_);
    for (auto& each : handles_) each = efd;
    owned_ = owns_->handle();
    heard_ = heard_by_owner_ = 0;
    ended_ = 0;
    for (int readers = 0; readers < 2; ++readers) net::co_spawn(*io_, listen(), net::detached);
    net::co_spawn(*io_, listen_to_own(), net::detached);
    net::co_spawn(*io_, cancel_now_and_then(), net::detached);
  }

  void work(std::size_t thread) override {
    switch (thread) {
      case 0:
        io_->run();
        break;
      case 1:
        ring_by_requests(handles_[0]);
        handles_[0].close();
        break;
      default:
        ring_by_hand();
        handles_[1].close();
    }
  }

  void end() override {
    require(heard_ == signals + requests, "a loop reads each signal and each completion",
            static_cast<long long>(signals + requests - heard_));
    require(heard_by_owner_ == signals, "a loop reads each signal of its own eventfd",
            static_cast<long long>(signals - heard_by_owner_));
    listens_.reset();
    owns_.reset();
    io_.reset();
    owned_.close();
  }

 private:
  static constexpr std::uint64_t signals = 500;
  static constexpr std::uint64_t requests = 120;
  static constexpr std::size_t batch = 8;

  // Reads until the last handle is closed, also after cancellations.
  net::awaitable<void> listen() {
    for (error_code ec; ec != net::error::eof;)
      heard_ += co_await listens_->async_read(net::redirect_error(net::use_awaitable, ec));
    ++ended_;
  }

  net::awaitable<void> listen_to_own() {
    while (heard_by_owner_ < signals) {
      error_code ec;
      heard_by_owner_ += co_await owns_->async_read(net::redirect_error(net::use_awaitable, ec));
    }
    ++ended_;
  }

  net::awaitable<void> cancel_now_and_then() {
    net::steady_timer timer{*io_};
    while (ended_ < 3) {
      timer.expires_after(std::chrono::microseconds{random_() % 1000});
      co_await timer.async_wait(net::use_awaitable);
      if (listens_->is_open()) listens_->cancel();
      owns_->cancel();
    }
  }

  void ring_by_requests(const doorbell::eventfd& efd) {
    aio::context ctx{static_cast<unsigned>(batch)};
    std::array<aio::iocb, batch> writes;
    std::array<aio::iocb*, batch> list{};
    for (std::size_t at = 0; at < batch; ++at) {
      writes.at(at) = aio::prep_pwrite(file_.get(), "soaked", 6, static_cast<std::int64_t>(6 * at));
      writes.at(at).set_eventfd(efd);
      list.at(at) = &writes.at(at);
    }
    std::array<aio::io_event, batch> events{};
    for (std::uint64_t done = 0; done < requests; done += batch) {
      require(ctx.submit(list) == batch, "a context accepts as many requests as it was created for");
      for (std::size_t got = 0; got < batch;) {
        std::error_code interrupted;
        got += ctx.get_events(1, events, interrupted).size();
      }
    }
  }

  void ring_by_hand() {
    for (std::uint64_t n = 0; n < signals; ++n) {
      handles_[1].signal();
      owned_.signal();
    }
  }

  const base::unique_fd file_ = test::temporary_file();
  std::optional<net::io_context> io_;
  std::optional<asio::eventfd> listens_;  // reads an eventfd of other threads; ends when they close it
  std::optional<asio::eventfd> owns_;     // has its own eventfd
  std::array<doorbell::eventfd, 2> handles_;
  doorbell::eventfd owned_;
  std::minstd_rand random_;
  // Accessed only by the loop's thread.
  std::uint64_t heard_ = 0;
  std::uint64_t heard_by_owner_ = 0;
  int ended_ = 0;
};

}  // namespace

std::unique_ptr<load> make_loops(std::uint64_t seed) { return std::make_unique<loops>(seed); }

}  // namespace doorbell::soak
