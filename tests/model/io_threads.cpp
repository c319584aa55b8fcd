// SPDX-License-Identifier: Apache-2.0
//
// The I/O threads: their start, their end, and their replacement after the program has closed the descriptors of the
// first set. Each request that a set of I/O threads has accepted is carried out: one byte is written to its file.
#include "engine/threads/io_threads.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <doorbell/aio.hpp>

#include "engine/threads/engine_threads.hpp"
#include "io_threads_parts.hpp"
#include "scenario.hpp"

namespace doorbell::model {
namespace {

using aio::io_threads;

constexpr aio::worker_pool::limits one_worker{
    .most_workers = 1, .idle_time = std::chrono::seconds{5}, .usual_workers = 1, .least_workers = 1};

/// Requests that a program submits to a set of I/O threads.
class program final : public aio::worker_pool::per_context_queue {
 public:
  explicit program(io_threads& with) : with_{with} {}

  /// @return whether the I/O threads have accepted a request for the file.
  bool submit(std::size_t which, const unique_fd& file) {
    auto& asked = requests_[which];
    std::error_code ec;
    asked.by_threads.pinned = with_.pins.pin(file.get(), aio::file_pins::sharing::allowed, ec);
    REQUIRE(!ec || ec == std::errc::not_connected);
    if (!ec) REQUIRE(with_.workers.push(*this, asked) == aio::worker_pool::pushed::queued);
    return !ec;
  }

  void carry_out(aio::request& taken) noexcept override {
    REQUIRE(aio::raw::add_to_eventfd(with_.pins.number(taken.by_threads.pinned)));
  }
  void conclude(aio::request& done) noexcept override { with_.pins.unpin(done.by_threads.pinned); }

 private:
  io_threads& with_;
  std::array<aio::request, 2> requests_{aio::request{aio::iocb_abi{}, nullptr}, aio::request{aio::iocb_abi{}, nullptr}};
};

/// A set of I/O threads that is not the process-wide one, and its requests.
class own_io_threads {
 public:
  /// Ends the threads, as if another set of I/O threads had replaced them. The wakeup may be lost, so the poller's
  /// thread only notices when time passes.
  ~own_io_threads() {
    all.retire();
    let_background_rest();
    let_time_pass();
    join_background();
  }
  own_io_threads() = default;
  own_io_threads(const own_io_threads&) = delete;
  own_io_threads& operator=(const own_io_threads&) = delete;

  io_threads all{one_worker};
  program requests{all};
};

/// Ends the process-wide I/O threads.
void end_process_io_threads(io_threads& of_process) {
  of_process.retire();
  let_time_pass();
  join_background();
  io_threads::begin_anew();
  of_process.put();  // the process's reference: begin_anew() has cleared its pointer to this set of I/O threads
}

void close_in_program(int number) { REQUIRE(::close(number) == 0); }

// The sending end is the first of the pair; the model checker gives it the number below that of the other end.
int sending_end(const io_threads& of) { return of.channel.receiving_end() - 1; }

}  // namespace

// Legal: the second thread waits for the start that the first thread has begun, or finds the I/O threads running.
// Forbidden: the second thread starts the I/O threads again, or sends its file before they have their table.
SCENARIO(io_threads_started_by_two, 2,
         "if two threads need the I/O threads concurrently, these start once, and both requests are carried out") {
  const auto file = make_file();
  const auto other = make_file();
  own_io_threads mine;
  together({{"submitter",
             [&] {
               REQUIRE(!mine.all.start());
               REQUIRE(mine.requests.submit(0, file));
             }},
            {"other submitter", [&] {
               REQUIRE(!mine.all.start());
               REQUIRE(mine.requests.submit(1, other));
             }}});
  let_background_rest();
  REQUIRE(in_background() == 2);
  REQUIRE(bytes_in(file) == 1 && bytes_in(other) == 1);
}

// Legal: the pin is refused, because the I/O threads have lost their wakeup; or the pin comes first, and the poller's
// thread runs until the request has been carried out. Forbidden: the pin is accepted after the poller's thread has
// found no work left.
SCENARIO(io_threads_retired_as_a_file_is_pinned, 2,
         "a request that a set of I/O threads accepts as it is retired is carried out before its threads end") {
  const auto file = make_file();
  let_program_close_ours();
  bool is_accepted = false;
  {
    own_io_threads mine;
    REQUIRE(!mine.all.start());
    close_in_program(mine.all.wakeup.number());
    together({{"submitter", [&] { is_accepted = mine.requests.submit(0, file); }}, {"other submitter", [&] {
                                                                                      mine.all.wakeup.wake();
                                                                                      REQUIRE(
                                                                                          mine.all.wakeup.is_lost());
                                                                                      mine.all.retire();
                                                                                      let_time_pass();
                                                                                    }}});
  }
  REQUIRE(bytes_in(file) == (is_accepted ? 1U : 0U));
}

// Legal: the channel has room for the engine's descriptor; or it has none, and the engine continues without a
// descriptor in the program's table.
// Forbidden: the thread that asks for the descriptor waits for room, with the engine's lock, while the poller's thread,
// which makes room, needs that lock to complete a request.
SCENARIO(io_threads_descriptor_sent_into_a_full_channel, 1,
         "a thread that asks an engine for its descriptor while the channel is full does not hold up a completion") {
  limit_messages(1);
  const auto file = make_file();
  const auto other = make_file();
  std::error_code ec;
  const auto all = io_threads::process(ec);
  REQUIRE(!all->start());
  {
    aio::engine_threads engine{*all};
    aio::request polled{aio::prep_poll(file.get(), POLLIN), nullptr};
    const std::array some{&polled};
    REQUIRE(engine.start(some) == 1);
    ticket pinned = 0;
    together({{"writer", [&] { write_byte(file); }},
              {"submitter",
               [&] {
                 std::error_code refused;
                 pinned = all->pins.pin(other.get(), aio::file_pins::sharing::allowed, refused);
                 REQUIRE(!refused);
               }},
              {"watcher", [&] { REQUIRE(engine.descriptor() >= 0); }}});
    let_background_rest();
    std::array<aio::completion, 2> done{};
    REQUIRE(engine.reap(done) == 1);
    all->pins.unpin(pinned);
    let_background_rest();
  }
  end_process_io_threads(*all);
}

// Legal: the submitter's request, whose file the lost set has pinned for another engine, goes to the lost set, and the
// engine's descriptor stays pinned there until the submitter's request has been reaped; or this request goes to the
// next set.
// Forbidden: the request goes to the lost set after the other submitter has found no request there and has ended the
// pin of the descriptor.
SCENARIO(io_threads_lost_as_a_request_shares_a_pin, 1,
         "an engine's descriptor announces the requests of two submitters: one finds the I/O threads lost, and the "
         "file of the other is already pinned in the table of the lost threads") {
  const auto file = make_file();
  const auto other = make_file();
  let_program_close_ours();
  std::error_code ec;
  const auto lost = io_threads::process(ec);
  REQUIRE(!lost->start());
  const auto of_other_engine = lost->pins.pin(file.get(), aio::file_pins::sharing::allowed, ec);
  REQUIRE(!ec);
  {
    aio::engine_threads engine{*lost};
    const int descriptor = engine.descriptor();
    close_in_program(sending_end(*lost));
    const auto at_its_number = make_file();
    // Another engine has found the loss before.
    const auto next = io_threads::replace(*lost, ec);
    REQUIRE(!next->start());
    let_background_rest();
    std::array requests{aio::request{aio::prep_pwrite(file.get(), nullptr, 1, 0), nullptr},
                        aio::request{aio::prep_pwrite(other.get(), nullptr, 1, 0), nullptr}};
    const auto submit = [&](std::size_t which) {
      return [&, which] {
        const std::array some{&requests[which]};
        REQUIRE(engine.start(some) == 1);
      };
    };
    together({{"submitter", submit(0)}, {"other submitter", submit(1)}});
    let_background_rest();
    std::uint64_t announced = 0;
    REQUIRE(::read(descriptor, &announced, sizeof announced) == sizeof announced && announced == 2);
    std::array<aio::completion, 3> done{};
    REQUIRE(engine.reap(done) == 2);
    lost->pins.unpin(of_other_engine);
  }
  REQUIRE(bytes_in(file) == 1 && bytes_in(other) == 1);
  end_process_io_threads(*io_threads::process(ec));
}

// Legal: each thread names the lost set of I/O threads when it asks for another set. The first thread replaces the lost
// set, and the second thread gets the new set. Forbidden: the second thread replaces the new set, too; or a request
// stays queued at a set whose threads have ended.
SCENARIO(io_threads_replaced_by_two, 1,
         "two threads that concurrently find the I/O threads lost get the same new set of I/O threads, which carries "
         "out both requests") {
  const auto file = make_file();
  const auto other = make_file();
  let_program_close_ours();
  std::error_code ec;
  const auto lost = io_threads::process(ec);
  REQUIRE(!lost->start());
  close_in_program(lost->wakeup.number());
  lost->wakeup.wake();
  {
    aio::engine_threads engine{*lost};
    std::array requests{aio::request{aio::prep_pwrite(file.get(), nullptr, 1, 0), nullptr},
                        aio::request{aio::prep_pwrite(other.get(), nullptr, 1, 0), nullptr}};
    const auto submit = [&](std::size_t which) {
      return [&, which] {
        const std::array some{&requests[which]};
        REQUIRE(engine.start(some) == 1);
      };
    };
    together({{"submitter", submit(0)}, {"other submitter", submit(1)}});
    let_background_rest();
    std::array<aio::completion, 3> done{};
    REQUIRE(engine.reap(done) == 2);
  }
  REQUIRE(bytes_in(file) == 1 && bytes_in(other) == 1);
  const auto next = io_threads::process(ec);
  REQUIRE(next != lost);
  end_process_io_threads(*next);
}

}  // namespace doorbell::model
