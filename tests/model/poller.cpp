// SPDX-License-Identifier: Apache-2.0
//
// The poller: how new requests wake its thread, and which thread ends a request.
#include "engine/threads/poller.hpp"

#include <poll.h>

#include <array>
#include <cstddef>
#include <system_error>

#include "io_threads_parts.hpp"
#include "request/request.hpp"
#include "scenario.hpp"

namespace doorbell::model {
namespace {

/// Counts how often each request was found ready.
class listener final : public aio::poller::client {
 public:
  explicit listener(io_threads_parts& of) : all_{of} {}

  aio::request& operator[](std::size_t which) noexcept { return requests_[which]; }
  /// How often a request was found ready. Call it when the poller's thread rests.
  [[nodiscard]] unsigned heard(std::size_t which) {
    const base::mutex_lock held{lock_};
    return heard_[which];
  }

  /// Called in a thread of the program. @return false if the request was cancelled meanwhile.
  bool wait_for(std::size_t which, const unique_fd& file, unsigned events) {
    auto& asked = requests_[which];
    asked.by_threads.pinned = all_.pin(file.get(), aio::file_pins::sharing::own);
    const auto error = all_.waits.add(*this, asked, events);
    REQUIRE(!error || error == std::errc::operation_canceled);
    if (error) all_.pins.unpin(asked.by_threads.pinned);
    return !error;
  }
  /// Called in the thread that has taken the request.
  void end(aio::request& taken) {
    all_.waits.remove(taken);
    all_.pins.unpin(taken.by_threads.pinned);
  }

  void ready(aio::request& taken, unsigned /*events*/) noexcept override {
    end(taken);
    const base::mutex_lock held{lock_};
    ++heard_[static_cast<std::size_t>(&taken - requests_.data())];
  }
  void refused(aio::request& /*taken*/, int /*error*/) noexcept override { REQUIRE(false); }

 private:
  io_threads_parts& all_;
  std::array<aio::request, 3> requests_{aio::request{aio::iocb_abi{}, nullptr}, aio::request{aio::iocb_abi{}, nullptr},
                                        aio::request{aio::iocb_abi{}, nullptr}};
  base::mutex lock_;
  std::array<unsigned, 3> heard_ DOORBELL_GUARDED_BY(lock_){};
};

}  // namespace

// Legal: a submitter finds no pending wakeup and writes to the eventfd; or it finds one, and the poller's thread has
// not checked for requests yet.
// Forbidden: a wakeup is marked as pending, the eventfd is empty, and the poller's thread sleeps. It would not notice
// this request, or the next one, until another event wakes it. Therefore the files become ready one after another.
SCENARIO(poller_hears_of_two_requests, 2,
         "each request that is submitted as the poller's thread wakes and goes to sleep is noticed") {
  io_threads_parts all;
  listener client{all};
  all.start_poller();
  const std::array files{make_file(), make_file(), make_file()};
  const auto becomes_ready = [&](std::size_t which) {
    write_byte(files[which]);
    let_background_rest();
    REQUIRE(client.heard(which) == 1);
  };
  together({{"submitter", [&] { client.wait_for(0, files[0], POLLIN); }},
            {"other submitter", [&] { client.wait_for(1, files[1], POLLIN); }}});
  let_background_rest();
  const auto first = any_below(3);
  if (first == 2) client.wait_for(2, files[2], POLLIN);
  let_background_rest();
  becomes_ready(first);
  for (const std::size_t other : {0U, 1U})
    if (other != first) becomes_ready(other);
  REQUIRE(all.waits.is_empty() && all.pins.size() == 0);
}

// Legal: the poller's thread takes the request, or the canceller does, or the submitter, which finds it cancelled.
// Forbidden: two of them take it, or none does, and the request waits forever.
SCENARIO(poller_cancel, 2,
         "a request that is cancelled as it is submitted and becomes ready is ended by one thread, once") {
  io_threads_parts all;
  listener client{all};
  all.start_poller();
  const auto file = make_file();
  auto& asked = client[0];
  bool by_canceller = false;
  bool by_submitter = false;
  together({{"submitter", [&] { by_submitter = !client.wait_for(0, file, POLLIN); }},
            {"canceller", [&] {
               asked.cancelled.store(true, base::memory_order_seq_cst);
               by_canceller = asked.by_threads.take();
               if (by_canceller) client.end(asked);
             }}});
  let_background_rest();
  REQUIRE(client.heard(0) + (by_canceller ? 1U : 0U) + (by_submitter ? 1U : 0U) == 1);
  REQUIRE(all.waits.is_empty() && all.pins.size() == 0);
}

// Legal: the file becomes ready before it is added to the epoll or afterwards, before the cancel or after it.
// Forbidden: a thread that does not get the request consumes the event, and the request waits forever.
SCENARIO(poller_ready_and_cancel, 2,
         "a request whose file becomes ready as it is cancelled is ended by one thread, once") {
  io_threads_parts all;
  listener client{all};
  all.start_poller();
  const auto file = make_file();
  auto& asked = client[0];
  REQUIRE(client.wait_for(0, file, POLLIN));
  bool by_canceller = false;
  together({{"peer", [&] { write_byte(file); }}, {"canceller", [&] {
                                                    asked.cancelled.store(true, base::memory_order_seq_cst);
                                                    by_canceller = asked.by_threads.take();
                                                    if (by_canceller) client.end(asked);
                                                  }}});
  let_background_rest();
  REQUIRE(client.heard(0) + (by_canceller ? 1U : 0U) == 1);
  REQUIRE(all.waits.is_empty() && all.pins.size() == 0);
}

}  // namespace doorbell::model
