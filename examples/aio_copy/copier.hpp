// SPDX-License-Identifier: Apache-2.0
//
// copier: the whole job, from the first read to the rename.
//
// Several coroutines, one for each request that may be in flight, process the blocks of the file. Each has its own
// buffer and request. It reads a block, writes it, and takes the next one. Blocks are finished in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "aio_queue.hpp"
#include "files.hpp"
#include "options.hpp"
#include "pass.hpp"

namespace aio_copy {

class copier {
 public:
  /// The referenced objects outlive the copier.
  copier(const options& how, const source_file& source, partial_file& copy, aio_queue& queue) noexcept
      : how_{how}, source_{source}, copy_{copy}, queue_{queue} {}

  /// Copies, syncs, verifies, and renames the copy to the destination. Throws an exception with a message for the user.
  boost::asio::awaitable<void> run();

  /// A summary for the user.
  [[nodiscard]] const std::string& report() const noexcept { return report_; }

 private:
  enum class purpose { copy, verify };

  boost::asio::awaitable<std::uint32_t> copy();
  boost::asio::awaitable<std::uint32_t> verify();
  boost::asio::awaitable<void> go_through(pass& all, purpose why);
  boost::asio::awaitable<void> work(pass& all, purpose why);
  boost::asio::awaitable<void> read(const pass::input& from, std::span<std::byte> block, std::int64_t offset);
  boost::asio::awaitable<void> write(std::span<const std::byte> block, std::int64_t offset);
  boost::asio::awaitable<void> sync();
  [[nodiscard]] std::int64_t block_size() const noexcept { return static_cast<std::int64_t>(how_.block); }
  void add_to_report(const char* done, const pass& all);

  const options& how_;
  const source_file& source_;
  partial_file& copy_;
  aio_queue& queue_;
  std::string report_;
};

}  // namespace aio_copy
