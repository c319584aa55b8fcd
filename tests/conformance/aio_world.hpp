// SPDX-License-Identifier: Apache-2.0
//
// The objects of a random program of AIO on one side: its own contexts, files and eventfds, with the same contents on
// both sides. It executes operations and returns their results; aio_lockstep judges them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <doorbell/base/unique_fd.hpp>

#include "aio_program.hpp"
#include "support/aio_sides.hpp"

namespace doorbell::test {

/// Aligned as O_DIRECT requires, with one more byte for requests at unaligned addresses.
struct alignas(direct_block) direct_buffer {
  std::array<char, 2 * direct_block + 1> bytes;
};

/// A request as it was submitted. It is kept until the program ends, because its event may be late.
struct submitted {
  request_spec spec;
  aio::iocb request;
  std::array<char, 256> buffer{};
  std::array<char, 256> second_buffer{};
  std::unique_ptr<direct_buffer> blocks;  // for requests of the direct file
  std::vector<iovec> buffers;
};

/// An event in a form that can be compared between the sides: it names its request by number, not by address.
struct told_event {
  unsigned number;
  std::int64_t res;
  std::int64_t res2;
  bool data_comes_back;
  std::uint64_t read;  // a hash of the buffers of a read

  friend auto operator<=>(const told_event&, const told_event&) = default;
};

class aio_world {
 public:
  explicit aio_world(const aio_side& side);
  ~aio_world();
  aio_world(const aio_world&) = delete;
  aio_world& operator=(const aio_world&) = delete;

  // Called between programs.
  void begin_program();
  void end_program();
  /// Destroys all contexts. Then creates a new one that outlives programs.
  void forget_contexts();

  // Operations. Each returns the result of the side's call.
  int setup(const operation& one);
  int destroy(unsigned context);
  int destroy_twice(unsigned context);
  int submit(const operation& one);
  int submit_badly(const operation& one);
  int cancel(const operation& one);
  /// Waits for `count` events, all of which must be certain to come, and keeps them for take_events().
  int get(unsigned context, long count, manner how);
  int get_badly(const operation& one, bool events_are_there);
  void fill(unsigned source);
  void empty(unsigned source);
  void stop_up(unsigned source);
  void make_room(unsigned source);
  void shut_down(unsigned source);
  void hang_up(unsigned source);
  void exchange_numbers(target one, target other);

  // State that the caller compares between the sides.
  /// @return the events that get() has kept, in order of their numbers, and forgets them.
  std::vector<told_event> take_events(unsigned context);
  /// @return the key that submit has left in the request.
  [[nodiscard]] std::uint32_t key_of(unsigned number) { return requests_.at(number)->request.key; }
  [[nodiscard]] bool has_context(unsigned context) const { return handles_.at(context) != 0; }
  /// @return {nr, head, tail} of a context that exists.
  [[nodiscard]] std::array<unsigned, 3> ring(unsigned context) const;
  [[nodiscard]] unsigned readiness(target file, unsigned events) const;
  [[nodiscard]] std::uint64_t take_eventfds(unsigned efd);
  /// Waits until the eventfd has been signalled `times` times. @return false if it was signalled less or more often.
  [[nodiscard]] bool takes_signals(unsigned efd, std::uint64_t times);
  [[nodiscard]] bool files_are_intact() const;
  [[nodiscard]] std::string appended() const;
  /// @return the file position of each file, which read(2) and write(2) would use.
  [[nodiscard]] std::vector<std::int64_t> positions() const;

 private:
  submitted& prepare(const request_spec& spec);
  static void set_buffers(submitted& made);
  static void set_vectors(submitted& made);
  static char* first_buffer(submitted& made);
  [[nodiscard]] int descriptor(target file) const { return files_[static_cast<std::size_t>(file)].get(); }
  [[nodiscard]] int eventfd_descriptor(eventfd_choice efd) const;
  [[nodiscard]] told_event tell(const aio::io_event& event);

  const aio_side& side_;
  std::array<aio::aio_context_t, contexts> handles_{};
  std::array<base::unique_fd, targets> files_;
  std::array<base::unique_fd, sources> writers_;
  std::array<base::unique_fd, efds> efds_;
  std::map<unsigned, std::unique_ptr<submitted>> requests_;
  std::array<std::vector<told_event>, contexts> got_;
};

}  // namespace doorbell::test
