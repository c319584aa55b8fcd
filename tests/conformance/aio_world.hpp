// SPDX-License-Identifier: Apache-2.0
//
// What a random program of AIO works on, on one side: contexts, files and eventfds of its own, of the same content on
// either side. Knows nothing of what answers are right.
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

/// Aligned as O_DIRECT demands, and a byte more for addresses that are not.
struct alignas(direct_block) direct_buffer {
  std::array<char, 2 * direct_block + 1> bytes;
};

/// A request as it was submitted, kept until the program ends: the event may come late.
struct submitted {
  request_spec spec;
  aio::iocb request;
  std::array<char, 256> buffer{};
  std::array<char, 256> second_buffer{};
  std::unique_ptr<direct_buffer> blocks;  // of requests for the direct file
  std::vector<iovec> buffers;
};

/// An event, as both sides can tell it: by the request's number.
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

  // Between programs.
  void begin_program();
  void end_program();
  /// Has the context that outlives programs made anew.
  void forget_contexts();

  // Operations: what the side answers.
  int setup(const operation& one);
  int destroy(unsigned context);
  int destroy_twice(unsigned context);
  int submit(const operation& one);
  int submit_badly(const operation& one);
  int cancel(const operation& one);
  /// Gets so many, which the program knows to come; they are kept.
  int get(unsigned context, long count, manner how);
  int get_badly(const operation& one, bool events_are_there);
  void fill(unsigned source);
  void empty(unsigned source);
  void stop_up(unsigned source);
  void make_room(unsigned source);
  void shut_down(unsigned source);
  void hang_up(unsigned source);
  void exchange_numbers(target one, target other);

  // What there is to be compared.
  /// Events got, in the order of their numbers, and forgets them.
  std::vector<told_event> take_events(unsigned context);
  /// The key that submit leaves in a request.
  [[nodiscard]] std::uint32_t key_of(unsigned number) { return requests_.at(number)->request.key; }
  [[nodiscard]] bool has_context(unsigned context) const { return handles_.at(context) != 0; }
  /// {nr, head, tail}, of a context that is there.
  [[nodiscard]] std::array<unsigned, 3> ring(unsigned context) const;
  [[nodiscard]] unsigned readiness(target file, unsigned events) const;
  [[nodiscard]] std::uint64_t take_bells(unsigned bell);
  /// Waits until the bell has rung so often. @return false when it does not.
  [[nodiscard]] bool has_rung(unsigned bell, std::uint64_t times);
  [[nodiscard]] bool files_are_intact() const;
  [[nodiscard]] std::string appended() const;
  /// Where read(2) and write(2) of each file would go on.
  [[nodiscard]] std::vector<std::int64_t> positions() const;

 private:
  submitted& prepare(const request_spec& spec);
  static void set_buffers(submitted& made);
  static void set_vectors(submitted& made);
  static char* first_buffer(submitted& made);
  [[nodiscard]] int descriptor(target file) const { return files_[static_cast<std::size_t>(file)].get(); }
  [[nodiscard]] int bell_descriptor(bell_choice bell) const;
  [[nodiscard]] told_event tell(const aio::io_event& event);

  const aio_side& side_;
  std::array<aio::aio_context_t, contexts> handles_{};
  std::array<base::unique_fd, targets> files_;
  std::array<base::unique_fd, sources> writers_;
  std::array<base::unique_fd, bells> bells_;
  std::map<unsigned, std::unique_ptr<submitted>> requests_;
  std::array<std::vector<told_event>, contexts> got_;
};

}  // namespace doorbell::test
