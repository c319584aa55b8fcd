// SPDX-License-Identifier: Apache-2.0
//
// A random program of AIO calls. Its operations refer to files, contexts and requests by names and numbers instead of
// addresses. So the program means the same on both sides, and stays valid if any of its operations is removed.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "support/random_programs.hpp"

namespace doorbell::test {

/// The kind of file that a request uses. The first six are sources: programs fill, empty, stop up and close them.
enum class target : std::uint8_t {
  pipe,
  nonblocking_pipe,
  eventfd,
  socket,
  nonblocking_eventfd,
  nonblocking_socket,
  pipe_writer,
  memory_file,
  disk_file,
  read_only_file,
  write_only_file,
  directory,
  epoll,
  path,
  null_device,
  append_file,
  direct_file,  // closed, where the file system has no O_DIRECT
  synced_file,
  block_device,  // closed, where the process may not open one
  closed,
};
constexpr unsigned targets = static_cast<unsigned>(target::closed) + 1;
constexpr unsigned sources = 6;
[[nodiscard]] constexpr bool is_eventfd(target file) {
  return file == target::eventfd || file == target::nonblocking_eventfd;
}
[[nodiscard]] constexpr bool is_socket(target file) {
  return file == target::socket || file == target::nonblocking_socket;
}
[[nodiscard]] constexpr bool does_not_block(target file) {
  return file == target::nonblocking_pipe || file == target::nonblocking_eventfd || file == target::nonblocking_socket;
}
constexpr std::uint64_t direct_block = 4096;
constexpr unsigned contexts = 3;  // the first of which outlives the programs
constexpr unsigned efds = 2;

enum class where : std::uint8_t { own, null, kernels_half, read_only, odd };
enum class eventfd_choice : std::uint8_t { none, first, second, closed, no_eventfd };
enum class vectors : std::uint8_t { good, bad_address, bad_length, both_bad, second_read_only, small };

struct request_spec {
  unsigned number = 0;  // its name in the program
  std::uint16_t opcode = 0;
  target file = target::memory_file;
  where buffer = where::own;
  vectors shape = vectors::good;
  std::uint64_t bytes = 0;  // of a vectored request: the number of buffers
  std::int64_t offset = 0;
  std::int32_t rw_flags = 0;
  std::uint32_t more_flags = 0;
  std::int16_t priority = 0;
  eventfd_choice efd = eventfd_choice::none;
  std::uint64_t events = 0;  // of a poll
  std::uint64_t reserved = 0;
};

[[nodiscard]] bool is_transfer(const request_spec& one);
[[nodiscard]] bool is_write(const request_spec& one);
[[nodiscard]] bool changes_a_source(const request_spec& one);
/// @return whether the request must be the only one of its submit. Otherwise results would depend on the order in which
/// the requests of the submit are carried out.
[[nodiscard]] bool must_be_alone(const request_spec& one);

/// The invalid pointer that follows the last request in the list of a submit, or nothing.
enum class list_end : std::uint8_t { nothing, null, kernels_half };
/// The call that gets events. for_more: io_getevents with room for more events than its minimum; with_mask,
/// without_mask: io_pgetevents.
enum class manner : std::uint8_t { with_timeout, with_mask, for_more, without_mask };

struct operation {
  enum class kind : std::uint8_t {
    setup,
    destroy,
    destroy_twice,
    submit,
    submit_badly,
    cancel,
    get_all,
    get_some,
    get_badly,
    fill,
    empty,
    stop_up,    // fills the source until a write to it would block
    make_room,  // reads all of that, so that a write does not block
    shut_down,
    hang_up,
    exchange_numbers,  // of two files: the library must not rely on the file that a number referred to before
  };
  kind what = kind::get_all;
  unsigned context = 0;
  unsigned how = 0;     // submit_badly, get_badly: which invalid call; get_some: how many events
  unsigned number = 0;  // setup: how many; cancel: which request; fill to hang_up: which source; exchange: which two
  list_end end = list_end::nothing;
  manner get = manner::with_timeout;
  std::vector<request_spec> requests;
};

using aio_program = std::vector<operation>;

/// The program of a seed.
[[nodiscard]] aio_program random_aio_program(std::uint64_t seed);
/// Operations like it that do less, for a shorter program.
[[nodiscard]] std::vector<operation> simpler(const operation& one);
std::ostream& operator<<(std::ostream& out, const operation& one);

}  // namespace doorbell::test
