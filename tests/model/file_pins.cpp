// SPDX-License-Identifier: Apache-2.0
//
// Pins of files for the I/O threads' requests: which requests share a pin, which file a request uses, and when the I/O
// threads close its descriptor. The oracle of each scenario: the bytes are in the file that the number referred to at
// submission.
#include "engine/threads/file_pins.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <system_error>

#include "io_threads_parts.hpp"
#include "scenario.hpp"

namespace doorbell::model {

// Legal: the second request finds the pin, and the file stays open for it; or the pin has ended, and the file is sent
// again.
// Forbidden: the second request has a pin that the end of the first request closes.
SCENARIO(pins_shared_as_the_last_use_ends, 3,
         "if the only other request for a file ends, a new one shares its pin or gets its own, and the file is open") {
  io_threads_parts all;
  const auto file = make_file();
  const auto first = all.pin(file.get());
  ticket second = 0;
  together({{"submitter", [&] { second = all.pin(file.get()); }}, {"worker", [&] {
                                                                     const io_threads_parts::scope here{all};
                                                                     all.carry_out(first);
                                                                   }}});
  {
    const io_threads_parts::scope here{all};
    all.carry_out(second);
  }
  REQUIRE(bytes_in(file) == 2);
  REQUIRE(all.pins.size() == 0 && references_to(file.get()) == 1);
}

// Legal: the first thread sends the file, once.
// Forbidden: the file is sent twice, and a request of one pin ends the other pin.
SCENARIO(pins_of_two_submitters, 3,
         "requests for one file that are submitted concurrently share a pin, which ends with the last one") {
  io_threads_parts all;
  const auto file = make_file();
  std::array<ticket, 2> made{};
  together({{"submitter", [&] { made[0] = all.pin(file.get()); }},
            {"other submitter", [&] { made[1] = all.pin(file.get()); }}});
  REQUIRE(made[0] == made[1]);
  const auto work = [&](ticket one) {
    return [&all, one] {
      const io_threads_parts::scope here{all};
      all.carry_out(one);
    };
  };
  together({{"worker", work(made[0])}, {"other worker", work(made[1])}});
  REQUIRE(bytes_in(file) == 2);
  REQUIRE(all.pins.size() == 0 && references_to(file.get()) == 1);
}

// Legal: each request uses the file that its number referred to at submission, whenever the worker runs.
// Forbidden: the second request shares the pin of the first request, because the number is the same.
SCENARIO(pins_number_used_again, 3,
         "a request keeps its file when its number becomes another file's, and the next request uses the other file") {
  io_threads_parts all;
  mailbox submitted;
  auto file = make_file();
  const auto first = same_file(file);
  const int number = file.get();
  together({{"program",
             [&] {
               submitted.put(all.pin(number));
               file.reset();
               file = make_file();
               REQUIRE(file.get() == number);
               submitted.put(all.pin(number));
             }},
            {"worker", [&] {
               const io_threads_parts::scope here{all};
               all.carry_out(submitted.take());
               all.carry_out(submitted.take());
             }}});
  REQUIRE(bytes_in(first) == 1 && bytes_in(file) == 1);
  REQUIRE(all.pins.size() == 0 && references_to(file.get()) == 1);
}

// Legal: the first request uses either file: its submission is not ordered with the program's dup3(2).
// Forbidden: the second request, which is submitted when the number refers to the first file again, shares a pin of the
// other file.
SCENARIO(pins_number_used_again_at_submit, 3,
         "if a number refers to another file while it is pinned, a later request uses the file of its submission") {
  io_threads_parts all;
  const auto file = make_file();
  const auto first = same_file(file);
  const auto other = make_file();
  ticket racing = 0;
  together({{"submitter", [&] { racing = all.pin(file.get()); }},
            {"program", [&] { REQUIRE(::dup3(other.get(), file.get(), O_CLOEXEC) == file.get()); }}});
  REQUIRE(::dup3(first.get(), file.get(), O_CLOEXEC) == file.get());
  const auto second = all.pin(file.get());
  {
    const io_threads_parts::scope here{all};
    all.carry_out(second);
  }
  REQUIRE(bytes_in(first) == 1);
  {
    const io_threads_parts::scope here{all};
    all.carry_out(racing);
  }
  REQUIRE(bytes_in(first) + bytes_in(other) == 1);
  REQUIRE(all.pins.size() == 0);
}

// Legal: the submitter finds the channel full, wakes the poller's thread, and sleeps until that thread has received a
// file.
// Forbidden: the submitter still sleeps when there is room, or no thread receives.
SCENARIO(pins_channel_full, 3,
         "a file for which the channel has no room is sent after the I/O threads have received other files") {
  limit_messages(1);
  io_threads_parts all;
  all.start_poller();
  const auto first = make_file();
  const auto second = make_file();
  std::array<ticket, 2> made{};
  together({{"submitter", [&] { made[0] = all.pin(first.get()); }},
            {"other submitter", [&] { made[1] = all.pin(second.get()); }}});
  let_background_rest();
  {
    const io_threads_parts::scope here{all};
    all.carry_out(made[0]);
    all.carry_out(made[1]);
  }
  REQUIRE(bytes_in(first) == 1 && bytes_in(second) == 1);
  REQUIRE(all.pins.size() == 0);
}

// Legal: the poller's thread closes the cancelled request's file between the unpin and the end of the wait; the
// submitter's request is for another file, and shares the pin that the other file already has. Forbidden: the wait ends
// while the file is open, or never ends; or the sweep closes a file that a request still uses.
SCENARIO(pins_ended_by_the_program, 2,
         "if the program ends a file's last request, the file is closed when wait_until_swept() returns") {
  io_threads_parts all;
  all.start_poller();
  const auto file = make_file();
  const auto other = make_file();
  const auto cancelled = all.pin(file.get());
  const auto kept = all.pin(other.get());
  together({{"canceller",
             [&] {
               all.pins.unpin(cancelled);
               all.pins.wait_until_swept();
               REQUIRE(references_to(file.get()) == 1);
             }},
            {"submitter", [&] { REQUIRE(all.pin(other.get()) == kept); }}});
  let_background_rest();
  {
    const io_threads_parts::scope here{all};
    all.carry_out(kept);
    all.carry_out(kept);
  }
  REQUIRE(bytes_in(other) == 2 && all.pins.size() == 0);
}

}  // namespace doorbell::model
