// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <tuple>

#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include "invariant.hpp"
#include "load.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"

namespace doorbell::soak {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t file_bytes = 65536;
constexpr std::size_t submitters = 2;
constexpr std::size_t places_each = 24;

char content_at(std::size_t offset) { return static_cast<char>('a' + offset % 23); }

std::string content() {
  std::string text(file_bytes, '\0');
  for (std::size_t at = 0; at < text.size(); ++at) text[at] = content_at(at);
  return text;
}

/// A request, and a buffer that no other request uses.
struct place {
  aio::iocb request;
  std::atomic<bool> in_flight{false};
  bool reads_file = false;
  std::size_t offset = 0;
  std::array<char, 1024> buffer{};
};

class contexts final : public load {
 public:
  contexts(std::uint64_t seed, aio::engine_kind engine)
      : engine_{engine}, name_{engine == aio::engine_kind::threads ? "contexts by threads" : "contexts by io_uring"} {
    for (auto& each : random_) each.seed(static_cast<std::minstd_rand::result_type>(seed++));
    for (auto& each : places_) each.buffer.fill(untouched);
  }
  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] std::size_t threads() const noexcept override { return random_.size(); }

  void prepare() override {
    for (const auto& each : places_)
      require(std::ranges::all_of(each.buffer, [](char one) { return one == untouched; }),
              "no buffer is accessed after destroy");
    pipe_.emplace();
    // A write into a full pipe fails, and no thread waits for room.
    ::fcntl(pipe_->write.get(), F_SETFL, O_NONBLOCK);
    efd_ = eventfd{0, EFD_NONBLOCK};
    ctx_.emplace(static_cast<unsigned>(places_.size()), engine_);
    signals_ = kernels_signals_ = 0;
    submitting_ = submitters;
  }

  void work(std::size_t thread) override {
    if (thread < submitters)
      submit_and_get(thread);
    else
      cancel_and_feed(random_.at(thread));
  }

  // Requests may still be in flight.
  void end() override {
    ctx_->destroy();
    for (auto& each : places_) {
      each.in_flight = false;
      each.buffer.fill(untouched);
    }
    ctx_.reset();
    pipe_.reset();
    std::error_code none;
    const auto counted = efd_.read(none);
    require(counted == signals_, "each request signals its eventfd once", static_cast<long long>(signals_ - counted));
    const auto kernels = test::take(kernels_eventfd_.get());
    require(kernels == kernels_signals_, "each request signals its kernel eventfd once",
            static_cast<long long>(kernels_signals_ - kernels));
    efd_.close();
  }

 private:
  static constexpr char untouched = '.';
  static constexpr int batches = 60;

  void submit_and_get(std::size_t thread) {
    auto& random = random_.at(thread);
    for (int batch = 0; batch < batches; ++batch) {
      submit_some(thread, random);
      get_some(random);
    }
    --submitting_;
  }

  void submit_some(std::size_t thread, std::minstd_rand& random) {
    for (std::size_t at = 0; at < places_each; ++at) {
      auto& each = places_.at(thread * places_each + at);
      if (each.in_flight.load(std::memory_order_acquire)) continue;
      decide_on(each, random);
      each.in_flight.store(true, std::memory_order_relaxed);
      submit(each, random() % 3);
    }
  }

  void decide_on(place& one, std::minstd_rand& random) {
    const auto kind = random() % 8;
    one.reads_file = kind < 4;
    one.offset = random() % (file_bytes - one.buffer.size());
    const auto offset = static_cast<std::int64_t>(one.offset);
    if (kind < 4) {
      one.request = aio::prep_pread(file_.get(), one.buffer.data(), one.buffer.size(), offset);
    } else if (kind == 4) {
      for (std::size_t at = 0; at < one.buffer.size(); ++at) one.buffer.at(at) = content_at(one.offset + at);
      one.request = aio::prep_pwrite(file_.get(), one.buffer.data(), one.buffer.size(), offset);
    } else if (kind == 5) {
      one.request = aio::prep_poll(pipe_->read.get(), POLLIN);
    } else {
      one.request = aio::prep_pread(pipe_->read.get(), one.buffer.data(), 1, 0);
    }
    one.request.data = &one;
  }

  // The request signals an eventfd of doorbell, one of the kernel, or none.
  void submit(place& one, std::size_t efd) {
    bool taken = false;
    if (efd == 0) {
      one.request.set_eventfd(efd_);
      taken = ctx_->submit({&one.request}) == 1;
      ++signals_;
    } else {
      if (efd == 1) {
        one.request.flags |= aio::iocb_abi::flag_resfd;
        one.request.resfd = static_cast<std::uint32_t>(kernels_eventfd_.get());
        ++kernels_signals_;
      }
      aio::iocb_abi* list = &one.request;
      taken = aio::io_submit(ctx_->handle(), 1, &list) == 1;
    }
    require(taken, "a context accepts as many requests as it was created for");
  }

  void get_some(std::minstd_rand& random) {
    std::array<aio::io_event, 16> events;
    std::error_code ec;
    const auto wait = std::chrono::microseconds{random() % 200};
    for (const auto& event : ctx_->get_events(random() % 4, events, wait, ec)) account_for(event);
    require(!ec || ec == std::errc::interrupted, "events can be got", ec.value());
  }

  static void account_for(const aio::io_event& event) {
    auto& from = *static_cast<place*>(event.data);
    require(event.obj == &from.request, "an event names its request");
    const bool cancelled = event.res == -ECANCELED;
    const auto whole = static_cast<std::int64_t>(from.buffer.size());
    if (from.reads_file && !cancelled) {
      require(event.res == whole, "a read inside a file reads all requested bytes", event.res);
      for (std::size_t at = 0; at < from.buffer.size(); ++at)
        if (from.buffer.at(at) != content_at(from.offset + at))
          return require(false, "a read gets the content of the file");
    }
    require(event.res >= 0 || cancelled, "a request succeeds or is cancelled", event.res);
    require(from.in_flight.exchange(false, std::memory_order_release), "a request has one event");
  }

  void cancel_and_feed(std::minstd_rand& random) {
    while (submitting_ > 0) {
      std::error_code not_in_flight;
      ctx_->cancel(places_.at(random() % places_.size()).request, not_in_flight);
      if (random() % 4 == 0) std::ignore = ::write(pipe_->write.get(), "x", 1);
      get_some(random);
    }
  }

  const aio::engine_kind engine_;
  const std::string_view name_;
  const base::unique_fd file_ = test::temporary_file(content());
  const base::unique_fd kernels_eventfd_ = test::kernel_eventfd();
  std::optional<test::pipe_ends> pipe_;
  eventfd efd_;
  std::optional<aio::context> ctx_;
  std::array<place, submitters * places_each> places_;
  std::array<std::minstd_rand, submitters + 1> random_;
  std::atomic<std::uint64_t> signals_{0};
  std::atomic<std::uint64_t> kernels_signals_{0};
  std::atomic<std::size_t> submitting_{0};
};

}  // namespace

std::unique_ptr<load> make_contexts(std::uint64_t seed, aio::engine_kind engine) {
  return std::make_unique<contexts>(seed, engine);
}

}  // namespace doorbell::soak
