// SPDX-License-Identifier: Apache-2.0
//
// A program with two copies of doorbell: its own, linked statically, and the drop-in, which replaces libaio. It forks
// under load. Oracle: each fork returns in the parent and in the child. In the child both copies execute I/O, and
// eventfds work.
#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <system_error>
#include <thread>

#include "queue.hpp"
#include "support/files.hpp"

namespace {

constexpr int forks = 100;
constexpr unsigned patience_in_seconds = 50;

bool writes_by_library(int file) {
  doorbell::test::queue own;
  return own.write(file, "library", 7, 0) == 7;
}

bool writes_by_own_copy(int file) {
  const std::array<std::byte, 8> text{};
  doorbell::eventfd done;
  doorbell::aio::context ctx{4};
  auto request = doorbell::aio::prep_pwrite(file, text, 4096);
  request.set_eventfd(done);
  ctx.submit({&request});
  if (done.read() != 1) return false;
  std::array<doorbell::aio::io_event, 4> events{};
  const auto got = ctx.get_events(1, events);
  return got.size() == 1 && got[0].res == static_cast<long long>(text.size());
}

/// @return the exit status of the child.
int use_all_in_child(int file, const doorbell::eventfd& shared) {
  if (!writes_by_library(file)) return 2;
  if (!writes_by_own_copy(file)) return 3;
  std::error_code ec;
  shared.read_for(std::chrono::nanoseconds::zero(), ec);
  shared.signal(5);
  return shared.read() == 5 ? 0 : 4;
}

int forks_under_load() {
  const auto file = doorbell::test::temporary_file();
  const doorbell::eventfd shared;
  std::atomic<bool> has_failed = false;
  std::atomic<bool> stop = false;
  const auto repeat = [&](auto action) {
    return std::thread{[&, action] {
      while (!stop)
        if (!action()) has_failed = true;
    }};
  };
  auto library = repeat([&] { return writes_by_library(file.get()); });
  auto own_copy = repeat([&] { return writes_by_own_copy(file.get()); });
  auto reader = repeat([&] { return shared.read() > 0; });
  auto writer = repeat([&] {
    shared.signal();
    std::this_thread::yield();
    return true;
  });
  int status = 0;
  int done = 0;
  for (; done < forks && status == 0; ++done) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(patience_in_seconds);
      ::_exit(use_all_in_child(file.get(), shared));
    }
    if (::waitpid(child, &status, 0) != child) status = -1;
  }
  stop = true;
  writer.join();
  shared.signal();
  for (auto* each : {&library, &own_copy, &reader}) each->join();
  if (status != 0)
    std::fprintf(stderr, "FAILED: child %d ended with status 0x%x\n", done, static_cast<unsigned>(status));
  if (has_failed) std::fprintf(stderr, "FAILED: in the parent\n");
  return status == 0 && !has_failed ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main() {
  try {
    ::alarm(patience_in_seconds);
    return forks_under_load();
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "FAILED: %s\n", failed.what());
    return EXIT_FAILURE;
  }
}
