// SPDX-License-Identifier: Apache-2.0
//
// Row 18: random reads of 4 KiB from an Asio loop. Several reads are outstanding; the handler of each starts the next.
// Compiled twice: with Asio's loop on epoll, the default, and on io_uring (BOOST_ASIO_DISABLE_EPOLL).
//
// The latency of a single outstanding read from a disk is also measured with loops that do not sleep.
//
// A file of Boost.Asio executes one read at a time, so the peer has one file object for each outstanding read. doorbell
// uses one for all.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/random_access_file.hpp>

#include <doorbell/asio.hpp>
#include <doorbell/base/unique_fd.hpp>

#include "interleaved.hpp"

namespace doorbell::bench {
namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t blocks = 16384;  // 64 MiB
constexpr benchmark::IterationCount reads_a_round = 256;

#ifdef BOOST_ASIO_DISABLE_EPOLL
const std::string loop = "io_uring_loop/";
#else
const std::string loop = "epoll_loop/";
#endif

[[noreturn]] void fail(const char* what) { throw std::system_error{errno, std::system_category(), what}; }

/// An unlinked file on the disk, whose content is also in the page cache.
class test_file {
 public:
  test_file() {
    std::string name = "./bench-files-XXXXXX";
    descriptor_ = base::unique_fd{::mkostemp(name.data(), O_CLOEXEC)};
    if (!descriptor_) fail("mkostemp");
    ::unlink(name.c_str());
    const std::vector<char> text(1 << 20, 'x');
    for (std::size_t at = 0; at < block * blocks; at += text.size())
      if (::pwrite(descriptor_.get(), text.data(), text.size(), static_cast<off_t>(at)) != ssize_t(text.size()))
        fail("pwrite");
    if (::fsync(descriptor_.get()) != 0) fail("fsync");
  }

  /// A new descriptor with its own open file description.
  [[nodiscard]] int open(int flags) const {
    const auto name = "/proc/self/fd/" + std::to_string(descriptor_.get());
    const int opened = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | flags);
    if (opened < 0) fail("open");
    return opened;
  }

 private:
  base::unique_fd descriptor_;
};

const test_file& the_file() {
  static const test_file one;
  return one;
}

struct freed {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

/// One of the outstanding reads, repeated.
template <class File>
class reader {
 public:
  reader(File& file, std::uint64_t seed, benchmark::IterationCount& left, bool& failed)
      : file_{file}, left_{left}, failed_{failed}, next_{seed}, memory_{std::aligned_alloc(block, block)} {}

  void start() {
    if (left_ == 0) return;
    --left_;
    const auto at = block * (next_() % blocks);
    file_.async_read_some_at(at, boost::asio::buffer(memory_.get(), block),
                             [this](const boost::system::error_code& ec, std::size_t bytes) {
                               failed_ = failed_ || ec || bytes != block;
                               start();
                             });
  }

 private:
  File& file_;
  benchmark::IterationCount& left_;
  bool& failed_;
  std::minstd_rand next_;
  std::unique_ptr<void, freed> memory_;
};

/// How the loop waits. doorbell has a setting for busy polling; with Boost.Asio alone, a program has to call poll()
/// repeatedly.
enum class waiting { asleep, busy_poll, by_poll };

constexpr std::chrono::microseconds busy_poll{100};

/// Several readers of a file, in their own loop.
template <class File>
class reading {
 public:
  /// @param files the number of file objects, which are assigned to the readers round-robin.
  reading(int flags, std::size_t depth, std::size_t files, waiting how) : how_{how} {
    if (how == waiting::busy_poll) asio::set_busy_poll(io_, busy_poll);
    for (std::size_t i = 0; i < files; ++i) files_.push_back(std::make_unique<File>(io_, the_file().open(flags)));
    for (std::size_t i = 0; i < depth; ++i)
      readers_.push_back(std::make_unique<reader<File>>(*files_[i % files], i + 1, left_, failed_));
  }

  void round() {
    left_ = reads_a_round;
    for (const auto& each : readers_) each->start();
    while (how_ == waiting::by_poll && !io_.stopped()) io_.poll();
    io_.run();
    io_.restart();
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  const waiting how_;
  boost::asio::io_context io_{1};
  benchmark::IterationCount left_ = 0;
  bool failed_ = false;
  std::vector<std::unique_ptr<File>> files_;
  std::vector<std::unique_ptr<reader<File>>> readers_;
};

using doorbell_reading = reading<asio::random_access_file>;
using boost_reading = reading<boost::asio::random_access_file>;

template <class... Reading>
void measure(benchmark::State& state, interleaved& comparison, const Reading&... sides) {
  comparison.run(state, reads_a_round);
  if ((sides.failed() || ...)) state.SkipWithError("a read failed, or was short");
}

void read_at_random(benchmark::State& state, int flags) {
  const auto depth = static_cast<std::size_t>(state.range(0));
  doorbell_reading ours{flags, depth, 1, waiting::asleep};
  boost_reading theirs{flags, depth, depth, waiting::asleep};
  interleaved comparison;
  comparison.add("doorbell", [&] { ours.round(); });
  comparison.add("boost", [&] { theirs.round(); });
  measure(state, comparison, ours, theirs);
}

void read_at_random_awake(benchmark::State& state, int flags) {
  doorbell_reading ours{flags, 1, 1, waiting::busy_poll};
  boost_reading asleep{flags, 1, 1, waiting::asleep};
  boost_reading awake{flags, 1, 1, waiting::by_poll};
  interleaved comparison;
  comparison.add("doorbell", [&] { ours.round(); });
  comparison.add("boost", [&] { asleep.round(); });
  comparison.add("boost_by_poll", [&] { awake.round(); });
  measure(state, comparison, ours, asleep, awake);
}

[[maybe_unused]] const bool registered = [] {
  const auto add = [](const std::string& name, auto body, int flags) {
    return benchmark::RegisterBenchmark((loop + name).c_str(), body, flags)->UseRealTime();
  };
  add("hot", read_at_random, 0)->ArgName("depth")->Arg(1)->Arg(32);
  add("direct", read_at_random, O_DIRECT)->ArgName("depth")->Arg(1)->Arg(32);
  add("busy_direct", read_at_random_awake, O_DIRECT);
  return true;
}();

}  // namespace
}  // namespace doorbell::bench
