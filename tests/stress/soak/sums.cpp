// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <stop_token>
#include <system_error>
#include <thread>

#include <doorbell/eventfd.hpp>

#include "invariant.hpp"
#include "load.hpp"
#include "support/fds.hpp"

namespace doorbell::soak {
namespace {

using namespace std::chrono_literals;

class sums final : public load {
 public:
  explicit sums(std::uint64_t seed) {
    for (auto& each : random_) each.seed(static_cast<std::minstd_rand::result_type>(seed++));
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "sums"; }
  [[nodiscard]] std::size_t threads() const noexcept override { return handles_.size(); }

  void prepare() override {
    const int flags = ++rounds_ % 4 == 0 ? EFD_SEMAPHORE : 0;
    for (const eventfd efd{0, flags}; auto& each : handles_) each = efd;
    ctx_ = handles_[0].context();
    left_ = 2 * bursts * burst;
    reached_ = std::stop_source{};
  }

  // Each thread runs until the whole sum has been read. The sum must be exact: otherwise a thread would wait forever.
  void work(std::size_t thread) override {
    const auto& efd = handles_.at(thread);
    switch (thread) {
      case 0:
        return signal_and_write(efd);
      case 1:
        return sleep_and_read(efd);
      case 2:
        return poll_and_drain(efd);
      default:
        return forward_copy_and_close(efd, random_.at(thread));
    }
  }

  void end() override {
    require(left_ == 0, "the counts read are the counts signalled", static_cast<long long>(left_));
    require(ctx_->count() == 0, "no count is left");
    for (auto& each : handles_) each.close();
    require(!ctx_->is_open(), "the last close closes the eventfd");
    ctx_.reset();
  }

 private:
  static constexpr std::uint64_t bursts = 200;
  static constexpr std::uint64_t burst = 4;

  void signal_and_write(const eventfd& efd) {
    for (std::uint64_t n = 0; n < bursts; ++n) {
      for (std::uint64_t each = 0; each < burst; ++each) {
        efd.signal();
        efd.write(1);
      }
      // Sometimes lets the readers take everything, so that they fall asleep.
      if (random_[0]() % 2 == 0)
        while (efd.info().count > 0) std::this_thread::yield();
    }
  }

  void sleep_and_read(const eventfd& efd) {
    while (left_ > 0) {
      std::error_code ec;
      if (random_[1]() % 4 == 0)
        read(efd.read_for(std::chrono::microseconds{random_[1]() % 100}, ec));
      else
        read(efd.read(reached_.get_token(), ec));
    }
  }

  void poll_and_drain(const eventfd& efd) {
    while (left_ > 0) {
      pollfd asked{.fd = efd.poll_fd(), .events = POLLIN, .revents = 0};
      if (::poll(&asked, 1, 1) == 1) read(ctx_->drain());
    }
  }

  void forward_copy_and_close(const eventfd& efd, std::minstd_rand& random) {
    while (left_ > 0) {
      eventfd copy = efd;
      copy.forward_to(there_.get());
      read(test::take(there_.get()));
      if (random() % 4 == 0) std::this_thread::yield();
      const eventfd another = copy;
      copy.close();
      another.stop_forwarding();
      read(test::take(there_.get()));
      std::this_thread::sleep_for(std::chrono::microseconds{random() % 50});
    }
  }

  void read(std::uint64_t n) {
    if (n > 0 && left_.fetch_sub(n) == n) reached_.request_stop();
  }

  std::array<eventfd, 4> handles_;
  std::array<std::minstd_rand, 4> random_;
  eventfd_ctx_ptr ctx_;
  std::atomic<std::uint64_t> left_{0};
  std::stop_source reached_;
  const test::unique_fd there_ = test::kernel_eventfd();
  unsigned rounds_ = 0;
};

}  // namespace

std::unique_ptr<load> make_sums(std::uint64_t seed) { return std::make_unique<sums>(seed); }

}  // namespace doorbell::soak
