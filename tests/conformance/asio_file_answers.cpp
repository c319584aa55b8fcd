// SPDX-License-Identifier: Apache-2.0
//
// Prints the results of calls on files in Asio's loop, one line for each call. This source is compiled once with
// boost::asio's types and once with doorbell's (the alias `files` names the namespace), and both programs must print
// the same. usage: asio_file_answers FOLDER
#include <boost/asio.hpp>
#include <boost/asio/random_access_file.hpp>
#include <boost/asio/stream_file.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#ifdef DOORBELL_FILES
#include <doorbell/asio.hpp>
namespace files = doorbell::asio;
#else
namespace files = boost::asio;
#endif

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using files::file_base;

void say(const char* what, const error_code& ec, std::uint64_t number = 0, const std::string& text = {}) {
  std::printf("%s: %s:%d, %" PRIu64 ", \"%s\"\n", what, ec.category().name(), ec.value(), number, text.c_str());
}

// copy() of examples/copy.cpp, but with sync_all(), because Boost.Asio has no async_sync_all().
net::awaitable<void> copy(net::io_context& io, const char* from, const char* to) {
  using namespace files;
  random_access_file in{io, from, file_base::read_only};
  random_access_file out{io, to, file_base::write_only | file_base::create | file_base::truncate};
  std::vector<char> block(1 << 20);
  for (std::uint64_t at = 0; at < in.size();) {
    std::size_t n = co_await in.async_read_some_at(at, boost::asio::buffer(block), boost::asio::use_awaitable);
    co_await boost::asio::async_write_at(out, at, boost::asio::buffer(block, n), boost::asio::use_awaitable);
    at += n;
  }
  out.sync_all();
}

// NOLINTBEGIN(bugprone-unused-return-value): Asio's calls return the error, too, which they have set
class asked {
 public:
  explicit asked(std::string folder) : folder_{std::move(folder)} {}

  void all() {
    copies();
    opening();
    stopping();
    random_access();
    stream();
    not_open();
  }

 private:
  [[nodiscard]] std::string path(const char* name) const { return folder_ + "/" + name; }
  void run() {
    io_.restart();
    io_.run();
  }
  auto answer(const char* what) {
    return [what](const error_code& ec, std::size_t n) { say(what, ec, n); };
  }

  void copies() {
    const auto ended = [](const char* what) {
      return [what](const std::exception_ptr& why) {
        try {
          if (why != nullptr) std::rethrow_exception(why);
          say(what, {});
        } catch (const boost::system::system_error& error) {
          say(what, error.code());
        }
      };
    };
    const auto to = path("copy");
    const auto missing = path("missing");
    net::co_spawn(io_, copy(io_, "/proc/self/exe", to.c_str()), ended("copy"));
    run();
    net::co_spawn(io_, copy(io_, missing.c_str(), to.c_str()), ended("copy of a missing file"));
    run();
    error_code ec;
    files::random_access_file one{io_};
    files::random_access_file other{io_};
    one.open("/proc/self/exe", file_base::read_only, ec);
    other.open(path("copy"), file_base::read_only, ec);
    std::vector<char> a(one.size());
    std::vector<char> b(other.size());
    net::read_at(one, 0, net::buffer(a), ec);
    net::read_at(other, 0, net::buffer(b), ec);
    say("the copy is equal", ec, a == b ? 1 : 0);
  }

  void opening() {
    error_code ec;
    files::random_access_file file{io_};
    file.open(path("made"), file_base::read_write | file_base::create | file_base::exclusive, ec);
    say("create", ec, file.size());
    file.open(path("made"), file_base::read_only, ec);
    say("open an open file", ec);
    file.assign(0, ec);
    say("assign to an open file", ec);
    file.close(ec);
    say("close", ec, file.is_open() ? 1 : 0);
    file.close(ec);
    say("close again", ec);
    file.open(path("made"), file_base::read_write | file_base::create | file_base::exclusive, ec);
    say("create an existing file", ec, file.is_open() ? 1 : 0);
    file.open(path("missing"), file_base::read_only, ec);
    say("open a missing file", ec);
    file.open(folder_, file_base::read_write, ec);
    say("open a folder", ec);
    std::array<char, 8> text{};
    files::stream_file folder{io_, folder_, file_base::read_only};
    files::random_access_file same{io_, folder_, file_base::read_only};
    say("read a folder", ec, folder.read_some(net::buffer(text), ec));
    folder.async_read_some(net::buffer(text), answer("async read of a folder"));
    run();
    same.async_read_some_at(0, net::buffer(text), answer("async read of a folder at an offset"));
    run();
    same.async_read_some_at(0, net::buffer(text, 0), answer("async read of nothing of a folder"));
    run();
  }

  // Reads one after the other: the handler of each read starts the next one.
  void read_series(files::random_access_file& file, int& left, bool& stops) {
    file.async_read_some_at(0, net::buffer(byte_), [&, this](const error_code&, std::size_t) {
      if (stops) io_.stop();
      if (--left > 0) read_series(file, left, stops);
    });
  }
  void stopping() {
    constexpr int length = 40;
    files::random_access_file file{io_, "/proc/self/exe", file_base::read_only};
    int left = length;
    bool stops = true;
    read_series(file, left, stops);
    run();
    say("handlers until stop() ends run()", {}, static_cast<std::uint64_t>(length - left));
    stops = false;
    io_.restart();
    int most = 0;
    while (left > 0) {  // NOLINT(bugprone-infinite-loop): handlers change it
      const int before = left;
      io_.run_one();
      most = std::max(most, before - left);
    }
    say("most handlers in one run_one()", {}, static_cast<std::uint64_t>(most));
  }

  void random_access() {
    error_code ec;
    files::random_access_file file{io_, path("made"), file_base::read_write};
    say("write", ec, net::write_at(file, 0, net::buffer("hello, world", 12), ec));
    std::array<char, 5> first{};
    std::array<char, 20> second{};
    const std::array<net::mutable_buffer, 2> both{net::buffer(first), net::buffer(second)};
    say("read into two", ec, file.read_some_at(0, both, ec), {second.data(), 7});
    say("read at the end", ec, file.read_some_at(12, both, ec));
    say("read nothing", ec, file.read_some_at(12, net::buffer(first, 0), ec));
    file.async_read_some_at(7, both, answer("async read into two"));
    run();
    file.async_read_some_at(12, both, answer("async read at the end"));
    run();
    file.async_read_some_at(12, net::buffer(first, 0), answer("async read nothing"));
    run();
    net::async_read_at(file, 0, both, answer("async read all"));
    run();
    net::async_read_at(file, 0, both, net::transfer_at_least(3), answer("async read at least"));
    run();
    file.async_write_some_at(100, net::buffer("beyond", 6), answer("async write beyond the end"));
    run();
    say("size", ec, file.size(ec));
    file.resize(3, ec);
    say("resize", ec, file.size());
    file.sync_all(ec);
    say("sync all", ec);
    file.sync_data(ec);
    say("sync data", ec);
    files::random_access_file only{io_, path("made"), file_base::read_only};
    say("write to a read-only file", ec, only.write_some_at(0, net::buffer("x", 1), ec));
    only.async_write_some_at(0, net::buffer("x", 1), answer("async write to a read-only file"));
    run();
    files::random_access_file moved{std::move(only)};
    say("moved", {}, (only.is_open() ? 2U : 0U) + (moved.is_open() ? 1U : 0U));  // NOLINT(bugprone-use-after-move)
    ::close(moved.release());
    say("released", {}, moved.is_open() ? 1 : 0);
  }

  void stream() {
    error_code ec;
    files::stream_file file{io_, path("stream"), file_base::read_write | file_base::create | file_base::truncate};
    net::async_write(file, net::buffer("hello, world", 12), answer("async write"));
    run();
    say("seek back", ec, file.seek(-5, file_base::seek_cur, ec));
    std::array<char, 20> text{};
    file.async_read_some(net::buffer(text, 3), answer("async read"));
    run();
    say("bytes that were read", {}, 0, {text.data(), 3});
    say("read the rest", ec, file.read_some(net::buffer(text), ec), {text.data(), 2});
    say("read at the end", ec, file.read_some(net::buffer(text), ec));
    file.async_read_some(net::buffer(text), answer("async read at the end"));
    run();
    say("seek before the beginning", ec, file.seek(-1, file_base::seek_set, ec));
    say("position", ec, file.seek(0, file_base::seek_cur, ec));
    say("seek to the end", ec, file.seek(-1, file_base::seek_end, ec));
    files::stream_file log{io_, path("stream"), file_base::write_only | file_base::append};
    log.async_write_some(net::buffer("!", 1), answer("append"));
    run();
    say("position", ec, log.seek(0, file_base::seek_cur, ec));
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    files::stream_file out{io_, ends[0]};
    files::stream_file in{io_, ends[1]};
    error_code write_ec;
    std::size_t written = 0;
    out.async_read_some(net::buffer(text), answer("async read of a pipe"));
    io_.restart();
    io_.poll();
    in.async_write_some(net::buffer("bell", 4), [&](const error_code& ended, std::size_t n) {
      write_ec = ended;
      written = n;
    });
    run();
    // Printed here and not in its handler, because the order in which the two files complete is undefined.
    say("async write to a pipe", write_ec, written);
    out.async_read_some(net::buffer(text), answer("async read that is cancelled"));
    io_.restart();
    io_.poll();
    out.cancel(ec);
    say("cancel", ec);
    run();
    in.close();
    out.async_read_some(net::buffer(text), answer("async read of a pipe without a writer"));
    run();
  }

  void not_open() {
    error_code ec;
    files::stream_file file{io_};
    std::array<char, 20> text{};
    say("closed: read", ec, file.read_some(net::buffer(text), ec));
    say("closed: write", ec, file.write_some(net::buffer(text), ec));
    say("closed: seek", ec, file.seek(0, file_base::seek_set, ec));
    say("closed: size", ec, file.size(ec));
    file.resize(1, ec);
    say("closed: resize", ec);
    file.sync_all(ec);
    say("closed: sync", ec);
    file.cancel(ec);
    say("closed: cancel", ec);
    file.async_read_some(net::buffer(text), answer("closed: async read"));
    run();
    file.async_write_some(net::buffer(text), answer("closed: async write"));
    run();
  }

  const std::string folder_;
  net::io_context io_;
  std::array<char, 1> byte_{};
};
// NOLINTEND(bugprone-unused-return-value)

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  asked{argv[1]}.all();
  return 0;
} catch (const std::exception& why) {
  std::fprintf(stderr, "%s\n", why.what());
  return 77;  // no io_uring here
}
