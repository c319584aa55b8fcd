// SPDX-License-Identifier: Apache-2.0
//
// ends_with_writes WAY...: starts processes that submit writes and end immediately, without getting an event, in each
// of the WAYs. Fails unless each process ends with its own exit status, and all writes that io_submit has accepted are
// in their files. DOORBELL_TEST_PROCESSES is the number of processes for each way, 20 by default.
#include <fcntl.h>
#include <libaio.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "support/files.hpp"

namespace {

using doorbell::base::unique_fd;
using doorbell::test::pipe_ends;
using doorbell::test::temporary_file;

constexpr int status_of_child = 42;
constexpr std::size_t block = 4096;
constexpr std::size_t most_blocks = 512;
constexpr unsigned patience_in_seconds = 40;

void require(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  ::abort();
}

/// The report of a process to its parent.
struct account {
  std::array<std::atomic<bool>, most_blocks> is_accepted;  // by block of the file
};

/// Creates it in a memory mapping that a child shares.
account& shared_account() {
  void* const memory = ::mmap(nullptr, sizeof(account), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(memory != MAP_FAILED, "mmap");
  return *new (memory) account{};
}

/// Requests that write blocks of a file. They exist until the process ends.
class writer {
 public:
  writer(int file, account& told, int rw_flags) : told_{told} {
    require(::io_setup(2 * most_blocks, &context_) == 0, "io_setup");
    for (std::size_t n = 0; n < most_blocks; ++n) {
      const auto offset = n * block;
      ::io_prep_pwrite(&writes_[n], file, text_.data(), block, static_cast<long long>(offset));
      writes_[n].aio_rw_flags = static_cast<unsigned>(rw_flags);
    }
  }

  void submit(std::size_t first, std::size_t count) {
    std::array<iocb*, most_blocks> all;
    std::ranges::transform(std::span{writes_}.subspan(first, count), all.begin(), [](auto& each) { return &each; });
    const int accepted = ::io_submit(context_, static_cast<long>(count), all.data());
    for (int n = 0; n < accepted; ++n) told_.is_accepted[first + static_cast<std::size_t>(n)] = true;
    require(accepted > 0, "io_submit");
  }

  void submit(iocb& request) {
    iocb* list = &request;
    require(::io_submit(context_, 1, &list) == 1, "io_submit");
  }

 private:
  struct alignas(block) memory : std::array<char, block> {};

  account& told_;
  io_context_t context_ = nullptr;
  memory text_ = [] {
    memory made;
    made.fill('x');
    return made;
  }();
  std::array<iocb, most_blocks> writes_{};
};

writer& endless_writer(int file, account& told, int rw_flags = 0) { return *new writer{file, told, rw_flags}; }

// The requests that are in flight when the process ends.

void direct_writes(int file, account& told) {
  require(::fcntl(file, F_SETFL, O_DIRECT) == 0, "O_DIRECT");
  endless_writer(file, told).submit(0, 64);
}

void synchronous_writes(int file, account& told) { endless_writer(file, told, RWF_SYNC).submit(0, 32); }

void writes_and_a_sync(int file, account& told) {
  auto& all = endless_writer(file, told, RWF_DSYNC);
  all.submit(0, 8);
  static iocb sync;
  ::io_prep_fsync(&sync, file);
  all.submit(sync);
  all.submit(8, 8);
}

void writes_and_requests_that_never_end(int file, account& told) {
  static const pipe_ends pipe;
  static std::array<iocb, 2> endless;
  static char nothing;
  ::io_prep_poll(&endless[0], pipe.read.get(), POLLIN);
  ::io_prep_pread(&endless[1], pipe.read.get(), &nothing, 1, 0);
  auto& all = endless_writer(file, told, RWF_DSYNC);
  all.submit(endless[0]);
  // The kernel's AIO would block in io_submit.
  if (std::getenv("DOORBELL_ENGINE") != nullptr) all.submit(endless[1]);
  all.submit(0, 16);
}

void writes_of_threads_that_go_on(int file, account& told) {
  static std::atomic<int> started{0};
  constexpr std::size_t threads = 2;
  constexpr std::size_t share = most_blocks / threads;
  for (std::size_t at = 0; at < threads; ++at)
    std::thread{[&all = endless_writer(file, told, RWF_DSYNC), at] {
      for (std::size_t n = 0; n < share; ++n) {
        all.submit(at * share + n, 1);
        ++started;
      }
    }}.detach();
  while (started < 8) std::this_thread::yield();
}

void writes_of_a_thread_that_has_ended(int file, account& told) {
  std::thread{[&] { endless_writer(file, told, RWF_DSYNC).submit(0, 16); }}.join();
}

constexpr std::array loads{direct_writes,
                           synchronous_writes,
                           writes_and_a_sync,
                           writes_and_requests_that_never_end,
                           writes_of_threads_that_go_on,
                           writes_of_a_thread_that_has_ended};

// The way in which a process ends.

struct way {
  std::string_view name;
  void (*end)();  // null: by returning from main()
};

constexpr const char* shell = "/bin/sh";
char* const* shell_arguments() {
  static std::string text = "exit " + std::to_string(status_of_child);
  static std::array<char*, 4> all{const_cast<char*>("sh"), const_cast<char*>("-c"), text.data(), nullptr};
  return all.data();
}
const char* shell_command() { return shell_arguments()[2]; }

constexpr std::array ways{
    way{"return", nullptr},
    way{"exit", [] { std::exit(status_of_child); }},
    way{"quick_exit", [] { std::quick_exit(status_of_child); }},
    way{"_exit", [] { ::_exit(status_of_child); }},
    way{"_Exit", [] { std::_Exit(status_of_child); }},
    way{"execve", [] { ::execve(shell, shell_arguments(), environ); }},
    way{"execv", [] { ::execv(shell, shell_arguments()); }},
    way{"execvp", [] { ::execvp("sh", shell_arguments()); }},
    way{"execvpe", [] { ::execvpe("sh", shell_arguments(), environ); }},
    way{"execl", [] { ::execl(shell, "sh", "-c", shell_command(), nullptr); }},
    way{"execlp", [] { ::execlp("sh", "sh", "-c", shell_command(), nullptr); }},
    way{"execle", [] { ::execle(shell, "sh", "-c", shell_command(), nullptr, environ); }},
    way{"fexecve", [] { ::fexecve(::open(shell, O_RDONLY), shell_arguments(), environ); }},
    way{"execveat", [] { ::execveat(AT_FDCWD, shell, shell_arguments(), environ, 0); }},
};

const way& way_named(std::string_view name) {
  const auto* const found = std::ranges::find(ways, name, &way::name);
  require(found != ways.end(), "no such way");
  return *found;
}

/// The results of the processes that ended in one way.
struct tally {
  unsigned processes = 0;
  unsigned strange_ends = 0;
  std::size_t accepted = 0;
  std::size_t lost = 0;
};

void look(int file, const account& told, int status, tally& all) {
  ++all.processes;
  all.strange_ends += !WIFEXITED(status) || WEXITSTATUS(status) != status_of_child;
  for (std::size_t n = 0; n < most_blocks; ++n) {
    if (!told.is_accepted[n]) continue;
    ++all.accepted;
    std::array<char, block> found{};
    const auto bytes = ::pread(file, found.data(), block, static_cast<off_t>(n * block));
    all.lost += bytes != static_cast<ssize_t>(block) || std::ranges::count(found, 'x') != static_cast<ssize_t>(block);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* const wanted = std::getenv("DOORBELL_TEST_PROCESSES");
  const unsigned processes = wanted != nullptr ? static_cast<unsigned>(std::atoi(wanted)) : 20;
  bool is_right = argc > 1;
  for (const auto* each : std::span{argv, static_cast<std::size_t>(argc)}.subspan(1)) {
    const auto& how = way_named(each);
    tally all;
    for (unsigned n = 0; n < processes; ++n) {
      unique_fd file = temporary_file();
      std::fflush(stdout);
      auto& told = shared_account();
      const pid_t child = ::fork();
      require(child >= 0, "fork");
      if (child == 0) {
        ::alarm(patience_in_seconds);
        loads[n % loads.size()](file.release(), told);  // the file stays open if the child returns
        if (how.end != nullptr) how.end();
        return status_of_child;
      }
      int status = 0;
      require(::waitpid(child, &status, 0) == child, "waitpid");
      ::fcntl(file.get(), F_SETFL, 0);
      look(file.get(), told, status, all);
      ::munmap(&told, sizeof told);
    }
    std::printf("%s: %u processes, %zu writes accepted, %zu lost, %u ended otherwise\n", each, all.processes,
                all.accepted, all.lost, all.strange_ends);
    is_right = is_right && all.accepted > 0 && all.lost == 0 && all.strange_ends == 0;
  }
  return is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}
