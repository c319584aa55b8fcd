// SPDX-License-Identifier: Apache-2.0
//
// Random sequences of calls on a stream_file, compared with the corresponding system calls on a file with the same
// content. The seeds are fixed.
#include <doorbell/asio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include "support/files.hpp"
#include "support/immediately.hpp"
#include "support/random_programs.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::file_base;
using doorbell::asio::stream_file;
using doorbell::base::unique_fd;
using doorbell::test::memory_folder;
using doorbell::test::random_numbers;

/// The result of a call.
struct answer {
  error_code ec;
  std::uint64_t number = 0;
  std::string bytes;  // the bytes that were read

  bool operator==(const answer&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const answer& told) {
    return out << told.ec << ", " << told.number << ", \"" << told.bytes << '"';
  }
};

/// Memory in up to five parts, some of which are empty.
class parts {
 public:
  parts(random_numbers& random, char fill, bool may_be_empty) {
    constexpr std::array sizes{0UL, 1UL, 2UL, 7UL, 64UL};
    const auto count = 1 + random.below(5);
    if (!may_be_empty) memory_.emplace_back(1, fill);
    for (std::size_t i = 0; i < count; ++i) memory_.emplace_back(random.one_of(sizes), fill++);
  }
  [[nodiscard]] std::vector<net::mutable_buffer> buffers() { return {memory_.begin(), memory_.end()}; }
  [[nodiscard]] std::vector<iovec> vectors() {
    std::vector<iovec> made;
    for (auto& each : memory_) made.push_back({each.data(), each.size()});
    return made;
  }
  [[nodiscard]] std::size_t size() const {
    std::size_t sum = 0;
    for (const auto& each : memory_) sum += each.size();
    return sum;
  }
  [[nodiscard]] std::string text(std::size_t bytes) const {
    std::string all;
    for (const auto& each : memory_) all.append(each.data(), each.size());
    return all.substr(0, bytes);
  }

 private:
  struct buffer : std::vector<char> {
    buffer(std::size_t size, char fill) : std::vector<char>(size, fill) {}
    explicit(false) operator net::mutable_buffer() { return net::buffer(*this); }
  };
  std::vector<buffer> memory_;
};

answer of_errno(std::int64_t result) {
  answer told;
  if (result < 0)
    told.ec.assign(errno, boost::system::system_category());
  else
    told.number = static_cast<std::uint64_t>(result);
  return told;
}

/// The file that is used by system calls, with its own position.
class system_side {
 public:
  explicit system_side(unique_fd file) : file_{std::move(file)} {}

  answer read(parts memory) {
    const auto vectors = memory.vectors();
    auto told = of_errno(::readv(file_.get(), vectors.data(), static_cast<int>(vectors.size())));
    told.bytes = memory.text(told.number);
    if (!told.ec && told.number == 0 && memory.size() > 0) told.ec = net::error::eof;
    return told;
  }
  answer write(parts memory) {
    const auto vectors = memory.vectors();
    return of_errno(::writev(file_.get(), vectors.data(), static_cast<int>(vectors.size())));
  }
  answer seek(std::int64_t by, int whence) { return of_errno(::lseek(file_.get(), by, whence)); }
  answer resize(std::uint64_t size) { return of_errno(::ftruncate(file_.get(), static_cast<off_t>(size))); }
  [[nodiscard]] int descriptor() const { return file_.get(); }

 private:
  unique_fd file_;
};

/// How a read or a write is called.
enum class call { asynchronous, blocking, inline_completion };

/// The file that is used by a stream_file of doorbell.
class doorbell_side {
 public:
  explicit doorbell_side(unique_fd file) { stream_.emplace(io_, file.release()); }

  // Several reads may be outstanding; settle() fills in their results.
  void start_read(parts memory, call how, answer& told) {
    const auto kept = std::make_shared<parts>(std::move(memory));
    const auto end = [kept, &told](error_code ec, std::size_t bytes) { told = {ec, bytes, kept->text(bytes)}; };
    if (how == call::blocking) {
      settle();
      error_code ec;
      const auto bytes = stream_->read_some(kept->buffers(), ec);
      return end(ec, bytes);
    }
    if (how == call::inline_completion)
      return stream_->async_read_some(kept->buffers(), doorbell::test::immediately(end));
    stream_->async_read_some(kept->buffers(), end);
  }
  void start_write(parts memory, call how, answer& told) {
    const auto kept = std::make_shared<parts>(std::move(memory));
    const auto end = [kept, &told](error_code ec, std::size_t bytes) { told = {ec, bytes, {}}; };
    if (how == call::blocking) {
      settle();
      error_code ec;
      const auto bytes = stream_->write_some(kept->buffers(), ec);
      return end(ec, bytes);
    }
    stream_->async_write_some(kept->buffers(), end);
  }
  answer seek(std::int64_t by, int whence) {
    settle();
    constexpr std::array bases{file_base::seek_set, file_base::seek_cur, file_base::seek_end};
    answer told;
    told.number = stream_->seek(by, bases.at(static_cast<std::size_t>(whence)), told.ec);
    return told;
  }
  answer resize(std::uint64_t size) {
    settle();
    answer told;
    stream_->resize(size, told.ec);
    return told;
  }
  // Releases the descriptor and assigns it again.
  void pass_on() {
    settle();
    const int released = stream_->release();
    stream_->assign(released);
  }
  void settle() {
    io_.restart();
    io_.run();
  }
  [[nodiscard]] int descriptor() const { return stream_->native_handle(); }

 private:
  net::io_context io_;
  std::optional<stream_file> stream_;
};

std::string content(int fd) {
  std::string all(1 << 16, '\0');
  const auto bytes = ::pread(fd, all.data(), all.size(), 0);
  all.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  return all;
}

/// How the file is opened, and where it is.
struct stream_kind {
  const char* name;
  int flags;
  const char* folder;
};

class asio_stream_program : public testing::TestWithParam<stream_kind> {
 protected:
  static unique_fd open() {
    const auto& kind = GetParam();
    const auto there = doorbell::test::temporary_file_in(kind.folder, "the text that is there at first");
    unique_fd opened{::open(("/proc/self/fd/" + std::to_string(there.get())).c_str(), kind.flags | O_CLOEXEC)};
    if (opened) ::lseek(opened.get(), 5, SEEK_SET);
    return opened;
  }

  // Oracle: each call has the same result, reads the same bytes, and leaves the same position and content of the file
  // as the system call, although several operations may be outstanding.
  static void run_program(std::uint64_t seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_numbers random{seed};
    system_side theirs{open()};
    doorbell_side ours{open()};
    std::vector<answer> expected;
    std::vector<std::unique_ptr<answer>> told;
    const auto next = [&]() -> answer& { return *told.emplace_back(std::make_unique<answer>()); };
    constexpr std::array calls{call::asynchronous, call::asynchronous, call::blocking, call::inline_completion};
    // An operation on empty buffers ends without an error, even if the file is not open for it.
    const bool may_be_empty = (GetParam().flags & O_ACCMODE) == O_RDWR;
    for (int i = 0; i < 40; ++i) {
      const auto how = random.one_of(calls);
      switch (random.below(8)) {
        case 0:
        case 1:
        case 2: {
          const parts memory{random, '-', may_be_empty};
          expected.push_back(theirs.read(memory));
          ours.start_read(memory, how, next());
          break;
        }
        case 3:
        case 4: {
          const parts memory{random, static_cast<char>('a' + i % 20), may_be_empty};
          expected.push_back(theirs.write(memory));
          ours.start_write(memory, how, next());
          break;
        }
        case 5: {
          const auto by = random.one_in(8) ? INT64_MAX : static_cast<std::int64_t>(random.below(80)) - 30;
          const auto whence = static_cast<int>(random.below(3));
          expected.push_back(theirs.seek(by, whence));
          next() = ours.seek(by, whence);
          break;
        }
        case 6: {
          const auto size = random.below(200);
          expected.push_back(theirs.resize(size));
          next() = ours.resize(size);
          break;
        }
        default:
          ours.pass_on();
      }
    }
    expected.push_back(theirs.seek(0, SEEK_CUR));
    next() = ours.seek(0, SEEK_CUR);
    ASSERT_EQ(expected.size(), told.size());
    for (std::size_t i = 0; i < told.size(); ++i) ASSERT_EQ(*told[i], expected[i]) << "call " << i;
    ASSERT_EQ(content(ours.descriptor()), content(theirs.descriptor()));
  }
};

TEST_P(asio_stream_program, has_the_results_and_the_position_of_the_system_calls) {
  if (std::string_view{GetParam().folder} == memory_folder && !doorbell::test::has_memory_folder())
    GTEST_SKIP() << "no /dev/shm";
  if (!open()) GTEST_SKIP() << "not in this file system";
  for (std::uint64_t seed = 1; seed <= 40 && !HasFatalFailure(); ++seed) run_program(seed);
}

INSTANTIATE_TEST_SUITE_P(each, asio_stream_program,
                         testing::Values(stream_kind{"on_a_disk", O_RDWR, "/var/tmp"},
                                         stream_kind{"in_memory", O_RDWR, memory_folder},
                                         stream_kind{"appended_to", O_RDWR | O_APPEND, memory_folder},
                                         stream_kind{"read_only", O_RDONLY, memory_folder},
                                         stream_kind{"write_only", O_WRONLY, "/var/tmp"}),
                         [](const auto& kind) { return std::string{kind.param.name}; });

// The loop of a thread_pool learns of completions only by Asio's reactor. Oracle: the results are those in an
// io_context.
TEST(asio_stream_in_a_pool, reads_and_writes_in_order) {
  net::thread_pool pool{2};
  stream_file file{pool, doorbell::test::temporary_file("abcdef").release()};
  std::array<char, 2> first{};
  std::array<char, 3> second{};
  auto one = file.async_read_some(net::buffer(first), net::use_future);
  auto two = file.async_read_some(net::buffer(second), net::use_future);
  auto three = file.async_write_some(net::buffer("XYZ", 3), net::use_future);
  EXPECT_EQ(one.get() + two.get() + three.get(), 8U);
  EXPECT_EQ(std::string(first.data(), 2) + std::string(second.data(), 3), "abcde");
  EXPECT_EQ(file.seek(0, file_base::seek_cur), 8U);
  EXPECT_EQ(file.size(), 8U);
  pool.join();
}

}  // namespace
