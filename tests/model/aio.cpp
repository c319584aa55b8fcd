// SPDX-License-Identifier: Apache-2.0
//
// AIO contexts: setup, submission, completion, cancellation, reaping and destruction. The scenario plays the engine's
// device.
#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <system_error>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>
#include <doorbell_model/sleeps.hpp>

#include "context/process_end.hpp"
#include "context/request_limit.hpp"
#include "context/sleep_record.hpp"
#include "model_engine.hpp"
#include "reaper/reaper.hpp"
#include "resfd/resfd.hpp"
#include "scenario.hpp"

namespace doorbell::model {
namespace {

const int some_file = ::open("/dev/null", O_RDWR | O_CLOEXEC);

const int regular_file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

// Creates the process-wide objects before the first scenario. Each scenario finds them in the same state: after a
// context was created and destroyed.
[[maybe_unused]] const bool is_warm = [] {
  aio::reaper::process();
  aio::resfd_registry::process();
  const aio::context once{1};
  return device::take_last() != nullptr;
}();

constexpr std::chrono::hours some_time{1};

/// The handle of the context that will be created next: consecutive mappings have equal distances.
aio::aio_context_t next_handle() {
  const aio::context first{1};
  const aio::context second{1};
  device::forget_last();
  return second.handle() + (second.handle() - first.handle());
}

struct one_context {
  one_context() { requests.fill(aio::prep_poll(some_file, POLLIN)); }

  void submit(std::size_t which = 0) { REQUIRE(context.submit({&requests[which]}) == 1); }
  /// @return the number of events.
  std::size_t get(std::size_t least = 1) {
    std::array<aio::io_event, 4> events{};
    return context.get_events(least, events).size();
  }
  std::size_t get_for_some_time() {
    std::array<aio::io_event, 1> events{};
    return context.get_events(1, events, some_time).size();
  }
  std::size_t get_what_is_there() { return get(0); }

  std::array<aio::iocb, 2> requests;
  aio::context context{1};
  std::shared_ptr<device> disk = device::take_last();
};

}  // namespace

SCENARIO(aio_submit_complete_get, 3,
         "a request that is completed while it is still being submitted has one event, and is freed once") {
  one_context all;
  std::size_t got = 0;
  together({{"submitter", [&] { all.submit(); }}, {"device", [&] { all.disk->complete_one(); }}, {"getter", [&] {
                                                                                                    got = all.get();
                                                                                                  }}});
  REQUIRE(got == 1 && all.get_what_is_there() == 0);
}
AND_WEAK(aio_submit_complete_get, 2, 3);

SCENARIO(aio_two_getters, 3,
         "two waiting threads each get an event, and neither sleeps although the other has reaped its event") {
  one_context all;
  std::size_t first = 0;
  std::size_t second = 0;
  all.submit(0);
  all.submit(1);
  const auto get_one = [&] {
    std::array<aio::io_event, 1> event{};
    return all.context.get_events(1, event).size();
  };
  together({{"first getter", [&] { first = get_one(); }},
            {"second getter", [&] { second = get_one(); }},
            {"device", [&] {
               all.disk->complete_one();
               all.disk->complete_one();
             }}});
  REQUIRE(first == 1 && second == 1);
}
AND_WEAK(aio_two_getters, 3, 2);

SCENARIO(aio_leader_hand_over, 3,
         "when the leader's timeout expires as the event arrives, one thread gets it, and no follower sleeps without a "
         "leader") {
  one_context all;
  std::size_t timed = 0;
  std::size_t patient = 0;
  all.submit(0);
  all.submit(1);
  together({{"timed getter", [&] { timed = all.get_for_some_time(); }},
            {"getter",
             [&] {
               std::array<aio::io_event, 1> event{};
               patient = all.context.get_events(1, event).size();
             }},
            {"device", [&] {
               all.disk->complete_one();
               all.disk->complete_one();
             }}});
  REQUIRE(patient == 1);
  REQUIRE(timed + all.get_what_is_there() == 1);
}
AND_WEAK(aio_leader_hand_over, 2, 2);

SCENARIO(aio_cancel_and_complete, 3,
         "a request that is cancelled as it completes has one event, which has its result") {
  one_context all;
  all.submit();
  std::error_code ec;
  bool completed = false;
  std::array<aio::io_event, 2> events{};
  std::size_t got = 0;
  together({{"canceller", [&] { all.context.cancel(all.requests[0], ec); }},
            {"device", [&] { completed = all.disk->complete_one_if_any(); }},
            {"getter", [&] { got = all.context.get_events(1, events).size(); }}});
  REQUIRE(got == 1 && all.get_what_is_there() == 0);
  REQUIRE(events[0].res == (completed ? 1 : 0));  // 0: the result of a cancelled poll
}
AND_WEAK(aio_cancel_and_complete, 2, 3);

SCENARIO(aio_submit_and_destroy, 3, "a submit fails, or its request has completed when destroy returns") {
  one_context all;
  std::error_code refused;
  together({{"submitter", [&] { all.context.submit({&all.requests[0]}, refused); }},
            {"destroyer", [&] { all.context.destroy(); }}});
}
AND_WEAK(aio_submit_and_destroy, 3, 3);

SCENARIO(aio_get_and_destroy, 3,
         "a thread that waits for events when the context is destroyed wakes, with an error or with an event") {
  one_context all;
  all.submit();
  std::error_code ec;
  std::size_t got = 0;
  together({{"getter",
             [&] {
               std::array<aio::io_event, 2> events{};
               got = all.context.get_events(2, events, ec).size();
             }},
            {"destroyer", [&] { all.context.destroy(); }}});
  REQUIRE(ec ? got == 0 : got == 1);
}
AND_WEAK(aio_get_and_destroy, 3, 3);

SCENARIO(aio_two_getters_and_destroy, 3, "two threads that wait when the context is destroyed both wake") {
  one_context all;
  const auto wait = [&] {
    std::error_code ec;
    std::array<aio::io_event, 1> event{};
    REQUIRE(all.context.get_events(1, event, ec).empty());
  };
  together({{"first getter", wait}, {"second getter", wait}, {"destroyer", [&] { all.context.destroy(); }}});
}
AND_WEAK(aio_two_getters_and_destroy, 2, 1);

SCENARIO(aio_two_destroys, 3, "one of two destroys destroys the context, and the other finds none") {
  one_context all;
  all.submit();
  std::error_code first;
  std::error_code second;
  together({{"first", [&] { all.context.destroy(first); }}, {"second", [&] { all.context.destroy(second); }}});
  REQUIRE(static_cast<bool>(first) != static_cast<bool>(second));
}

SCENARIO(aio_lookup_and_destroy, 3,
         "a lookup finds a context that exists until the reference is dropped, or finds none") {
  one_context all;
  const auto look = [&] {
    const auto handle = all.context.handle();
    REQUIRE(handle == 0 || handle % 4096 == 0);
  };
  together({{"first lookup", look}, {"second lookup", look}, {"destroyer", [&] { all.context.destroy(); }}});
}
AND_WEAK(aio_lookup_and_destroy, 2, 2);

SCENARIO(aio_complete_and_destroy, 3, "destroy returns after the last completion, whichever thread reaps it") {
  one_context all;
  all.submit();
  together({{"getter",
             [&] {
               std::error_code ec;
               std::array<aio::io_event, 1> event{};
               all.context.get_events(0, event, ec);
             }},
            {"device", [&] { all.disk->complete_one_if_any(); }},
            {"destroyer", [&] { all.context.destroy(); }}});
}
AND_WEAK(aio_complete_and_destroy, 2, 2);

SCENARIO(aio_destroy_waits, 3,
         "a request that cannot be cancelled has completed when destroy returns: its buffer is no longer accessed") {
  one_context all;
  all.disk->ignore_cancels();
  all.submit();
  int buffer = 0;
  together({{"device",
             [&] {
               buffer = 1;
               all.disk->complete_one();
             }},
            {"destroyer", [&] {
               all.context.destroy();
               REQUIRE(buffer == 1);
             }}});
}

SCENARIO(aio_destroy_waits_for_files, 3,
         "destroy does not cancel a read of a file: when it returns, the buffer is filled") {
  one_context all;
  char buffer = 0;
  auto read = aio::prep_pread(regular_file, &buffer, 1, 0);
  REQUIRE(all.context.submit({&read}) == 1);
  together({{"device", [&] { all.disk->complete_one_if_any(); }}, {"destroyer", [&] {
                                                                     all.context.destroy();
                                                                     REQUIRE(buffer == 1);
                                                                   }}});
}

SCENARIO(aio_end_of_process, 3, "file I/O that submit has accepted is carried out before the process ends") {
  one_context all;
  char buffer = 0;
  auto read = aio::prep_pread(regular_file, &buffer, 1, 0);
  base::atomic<bool> is_accepted{false};
  together({{"submitter",
             [&] {
               REQUIRE(all.context.submit({&read}) == 1);
               is_accepted.store(true, base::memory_order_seq_cst);
             }},
            {"device", [&] { all.disk->complete_one(); }},
            {"ending thread", [&] {
               const aio::file_io_pause until_the_end;
               REQUIRE(!is_accepted.load(base::memory_order_seq_cst) || buffer == 1);
             }}});
}
AND_WEAK(aio_end_of_process, 2, 2);

SCENARIO(aio_end_of_process_and_destroy, 3, "the process does not end before file I/O for which a destroy waits") {
  one_context all;
  char buffer = 0;
  auto read = aio::prep_pread(regular_file, &buffer, 1, 0);
  REQUIRE(all.context.submit({&read}) == 1);
  together({{"destroyer", [&] { all.context.destroy(); }},
            {"device", [&] { all.disk->complete_one_if_any(); }},
            {"ending thread", [&] {
               const aio::file_io_pause until_the_end;
               REQUIRE(buffer == 1);
             }}});
}

/// Records the sleeps of its scenario. destroy() gives up waiting for one sleeper, at any moment.
struct recorded_sleeps {
  recorded_sleeps() {
    record_sleeps(1);
    before_end(aio::sleep_record::free_all);
  }
};

// Legal: the sleeper ends its record, or destroy() takes the record. The thread that does so ends the leadership and
// drops the sleeper's reference to the context.
// Forbidden: both threads do so, or neither; a sleeper whose record was taken accesses the context; the context is
// freed while the sleeper is in the engine.
SCENARIO(aio_sleeper_given_up, 3,
         "if a sleeper wakes as destroy gives up waiting for it, exactly one of the two drops its reference") {
  const recorded_sleeps here;
  one_context all;
  together({{"getter",
             [&] {
               std::error_code ec;
               std::array<aio::io_event, 1> event{};
               REQUIRE(all.context.get_events(1, event, ec).empty() && ec);
             }},
            {"destroyer", [&] { all.context.destroy(); }}});
}
AND_WEAK(aio_sleeper_given_up, 2, 2);

// Legal: as above. When the sleeper has woken, its thread may use the record for its next sleep.
// Forbidden: the next sleep begins in a record that destroy() still uses.
SCENARIO(aio_sleeper_given_up_and_next_sleep, 2,
         "a thread for which destroy gave up waiting can sleep on another context, and gets its event") {
  const recorded_sleeps here;
  one_context all;
  one_context other;
  other.submit();
  std::size_t got = 0;
  together({{"getter",
             [&] {
               std::error_code ec;
               std::array<aio::io_event, 1> event{};
               REQUIRE(all.context.get_events(1, event, ec).empty() && ec);
               got = other.get();
             }},
            {"destroyer", [&] { all.context.destroy(); }},
            {"device", [&] { other.disk->complete_one(); }}});
  REQUIRE(got == 1);
}

SCENARIO(aio_setup_and_destroy, 3,
         "a context whose handle another thread guesses is destroyed once, by that thread or by its owner") {
  const auto handle = next_handle();
  aio::aio_context_t made = 0;
  int by_other = 0;
  together({{"setter", [&] { REQUIRE(aio::io_setup(1, &made) == 0); }},
            {"destroyer", [&] { by_other = aio::io_destroy(handle); }}});
  REQUIRE(made == handle);
  REQUIRE((by_other == 0) != (aio::io_destroy(made) == 0));
  device::forget_last();
}

SCENARIO(aio_setup_refused, 3, "a context that the limit refuses is never visible to other threads") {
  const auto handle = next_handle();
  auto& limit = aio::request_limit::process();
  const auto rest = limit.max() - limit.charged();
  REQUIRE(limit.charge(rest));
  aio::aio_context_t made = 0;
  together({{"setter", [&] { REQUIRE(aio::io_setup(1, &made) == -EAGAIN); }},
            {"destroyer", [&] { REQUIRE(aio::io_destroy(handle) == -EINVAL); }}});
  limit.refund(rest);
  device::forget_last();
}

// Besides the device's thread, the process's reaper may reap the completion.
SCENARIO(aio_eventfd, 3, "a thread that reads the eventfd's count finds the event in the ring") {
  one_context all;
  const eventfd efd;
  all.requests[0].set_eventfd(efd);
  all.submit();
  all.requests[0] = {};
  const auto reap = [&] { REQUIRE(all.context.get_events(0, {}).empty()); };
  together({{"listener",
             [&] {
               REQUIRE(efd.read() == 1);
               REQUIRE(all.get_what_is_there() == 1);
             }},
            {"device", [&] {
               all.disk->complete_one();
               reap();
             }}});
}

SCENARIO(aio_eventfd_that_is_closed, 3, "a request keeps its eventfd in memory until it has signalled it") {
  one_context all;
  eventfd efd;
  all.requests[0].set_eventfd(efd);
  all.submit();
  all.requests[0] = {};
  const auto reap = [&] { REQUIRE(all.context.get_events(0, {}).empty()); };
  together({{"closer", [&] { efd.close(); }}, {"device", [&] {
                                                 all.disk->complete_one();
                                                 reap();
                                               }}});
}

}  // namespace doorbell::model
