// SPDX-License-Identifier: Apache-2.0
//
// aio_copy SRC DST: copies a file through an AIO context whose completions signal an eventfd that an Asio loop awaits.
//
//   copier        coroutines, one for each request that may be in flight: read a block, write it, take the next
//   aio_queue     lets a coroutine await an AIO request
//   doorbell      aio::context executes the requests and signals the eventfd; asio::eventfd wakes the loop
#include <absl/strings/str_format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "aio_queue.hpp"
#include "copier.hpp"
#include "files.hpp"
#include "options.hpp"

namespace {

namespace net = boost::asio;
using namespace aio_copy;

constexpr int exit_usage = 2;
constexpr int exit_signalled = 128;

int complain(const char* what) {
  std::fprintf(stderr, "aio_copy: %s\n", what);
  return EXIT_FAILURE;
}

/// The reason why the loop has ended: the job has succeeded or failed, or a signal has arrived.
struct ending {
  std::exception_ptr failure;
  int signal = 0;
};

ending run_loop(net::io_context& io, net::signal_set& signals, copier& job) {
  ending how;
  signals.async_wait([&](boost::system::error_code ec, int signal) {
    if (ec) return;
    how.signal = signal;
    io.stop();
  });
  net::co_spawn(io, job.run(), [&](std::exception_ptr failure) {
    how.failure = std::move(failure);
    io.stop();
  });
  io.run();
  return how;
}

// If the job ends early, the destructors run in this order: that of the queue waits for the requests in flight, that of
// the partial file removes it, and that of the loop destroys the coroutines.
int copy(const options& how) {
  net::io_context io{1};
  net::signal_set signals{io, SIGINT, SIGTERM, SIGHUP};
  const source_file source{how.source};
  partial_file partial{how.destination, source};
  aio_queue queue{io, how.depth};
  copier job{how, source, partial, queue};

  const auto ended = run_loop(io, signals, job);
  if (ended.signal != 0) return exit_signalled + ended.signal;
  if (ended.failure) std::rethrow_exception(ended.failure);
  absl::PrintF("%sin flight: %d at most, %.1f on average\nengine: %s\n", job.report(), queue.depth().deepest(),
               queue.depth().mean(), queue.engine());
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // so that a write beyond the file size limit fails and the partial file is removed
  try {
    const auto parsed = parse_options(argc, argv);
    if (parsed) return copy(*parsed);
    std::fputs(usage, stdout);
    return EXIT_SUCCESS;
  } catch (const usage_error& mistake) {
    complain(mistake.what());
    return exit_usage;
  } catch (const std::exception& failure) {
    return complain(failure.what());
  }
}
