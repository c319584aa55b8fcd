// SPDX-License-Identifier: Apache-2.0
#include "copier.hpp"

#include <absl/strings/str_format.h>

#include <exception>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "units.hpp"

namespace aio_copy {

namespace aio = doorbell::aio;
namespace net = boost::asio;

namespace {

[[noreturn]] void fail(std::int64_t result, const char* what, const std::filesystem::path& path) {
  throw std::system_error{static_cast<int>(-result), std::generic_category(),
                          std::string{what} + " '" + path.string() + "'"};
}

std::size_t to_size(std::int64_t bytes) { return static_cast<std::size_t>(bytes); }

}  // namespace

net::awaitable<void> copier::run() {
  const auto read_from_source = co_await copy();
  copy_.forget_cached_pages();
  const auto read_back = co_await verify();
  if (read_back != read_from_source)
    throw std::runtime_error{"what was written to '" + copy_.path().string() + "' reads back different"};
  copy_.commit();
}

net::awaitable<std::uint32_t> copier::copy() {
  pass all{"copying", {source_.fd(), source_.size(), source_.path()}, block_size()};
  co_await go_through(all, purpose::copy);
  copy_.resize(source_.size());
  co_await sync();
  add_to_report("copied", all);
  co_return all.checksum();
}

net::awaitable<std::uint32_t> copier::verify() {
  pass all{"verifying", {copy_.fd(), source_.size(), copy_.path()}, block_size()};
  co_await go_through(all, purpose::verify);
  add_to_report("verified", all);
  co_return all.checksum();
}

// Waits for all coroutines even if one fails, since they share the pass.
net::awaitable<void> copier::go_through(pass& all, purpose why) {
  const auto executor = co_await net::this_coro::executor;
  using worker = decltype(net::co_spawn(executor, work(all, why), net::deferred));
  std::vector<worker> workers;
  workers.reserve(how_.depth);
  for (unsigned i = 0; i < how_.depth; ++i) workers.push_back(net::co_spawn(executor, work(all, why), net::deferred));
  auto group = net::experimental::make_parallel_group(std::move(workers));
  const auto [order, failures] = co_await group.async_wait(net::experimental::wait_for_all{}, net::use_awaitable);
  for (const auto index : order)
    if (failures[index]) std::rethrow_exception(failures[index]);
}

net::awaitable<void> copier::work(pass& all, purpose why) {
  std::vector<std::byte> room(how_.block);
  try {
    while (const auto next = all.next()) {
      const auto block = std::span{room}.first(to_size(next->size));
      co_await read(all.from(), block, next->offset);
      all.has_read(next->offset, block);
      if (why == purpose::copy) co_await write(block, next->offset);
      all.has_finished(next->size);
    }
  } catch (...) {
    all.stop();
    throw;
  }
}

net::awaitable<void> copier::read(const pass::input& from, std::span<std::byte> block, std::int64_t offset) {
  while (!block.empty()) {
    const auto bytes = co_await queue_.run(aio::prep_pread(from.fd, block, offset));
    if (bytes < 0) fail(bytes, "cannot read", from.path);
    if (bytes == 0) throw std::runtime_error{"'" + from.path.string() + "' became shorter while it was read"};
    block = block.subspan(to_size(bytes));
    offset += bytes;
  }
}

net::awaitable<void> copier::write(std::span<const std::byte> block, std::int64_t offset) {
  while (!block.empty()) {
    const auto bytes = co_await queue_.run(aio::prep_pwrite(copy_.fd(), block, offset));
    if (bytes < 0) fail(bytes, "cannot write", copy_.path());
    block = block.subspan(to_size(bytes));
    offset += bytes;
  }
}

net::awaitable<void> copier::sync() {
  const auto result = co_await queue_.run(aio::prep_fsync(copy_.fd()));
  if (result < 0) fail(result, "cannot sync", copy_.path());
}

void copier::add_to_report(const char* done, const pass& all) {
  const auto data = static_cast<double>(all.data_size());
  const auto holes = static_cast<double>(source_.size()) - data;
  report_ += absl::StrFormat("%s: %s in %.2f s, %s/s", done, format_bytes(data), all.seconds(),
                             format_bytes(data / all.seconds()));
  if (holes > 0) report_ += absl::StrFormat(", and %s of holes", format_bytes(holes));
  report_ += absl::StrFormat(", crc32 %08x\n", all.checksum());
}

}  // namespace aio_copy
