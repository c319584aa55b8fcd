// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/background_thread.hpp>

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <tuple>

#include <doorbell/base/process_generation.hpp>
#include <doorbell/base/signals_blocked.hpp>

namespace doorbell::base {
namespace {

// Callbacks of the program may run in these threads.
constexpr std::size_t least_stack = std::size_t{1} << 20;

class attributes {
 public:
  attributes() noexcept : error_{::pthread_attr_init(&native_)} {}
  ~attributes() {
    if (error_ == 0) ::pthread_attr_destroy(&native_);
  }
  attributes(const attributes&) = delete;
  attributes& operator=(const attributes&) = delete;

  [[nodiscard]] int error() const noexcept { return error_; }
  pthread_attr_t* native() noexcept { return &native_; }

 private:
  pthread_attr_t native_{};
  const int error_;
};

// The program may have set the default to a small stack that suits its own threads.
void choose_stack(pthread_attr_t& made_with) noexcept {
  std::size_t size = 0;  // equivalent fault (constant): pthread_attr_getstacksize(3) sets it
  ::pthread_attr_getstacksize(&made_with, &size);
  if (size < least_stack) ::pthread_attr_setstacksize(&made_with, least_stack);
}

// Sets nothing that is already right: a sandbox may forbid each further system call.
void choose_policy(pthread_attr_t& made_with) noexcept {
  if ((::sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) == SCHED_OTHER) return;
  const sched_param lowest{};
  ::pthread_attr_setinheritsched(&made_with, PTHREAD_EXPLICIT_SCHED);
  ::pthread_attr_setschedpolicy(&made_with, SCHED_OTHER);
  ::pthread_attr_setschedparam(&made_with, &lowest);
}

// A thread inherits affinity, niceness and I/O priority from its creator, whose values may differ from those of the
// process's first thread. If the system refuses one of the calls below, the thread keeps the inherited value.

void adopt_affinity(pid_t process) noexcept {
  std::array<unsigned long, 128> mine{};
  std::array<unsigned long, 128> of_process{};
  const auto get = [](pid_t thread, auto& mask) {
    return ::syscall(SYS_sched_getaffinity, thread, sizeof mask, mask.data()) != -1;
  };
  if (get(0, mine) && get(process, of_process) && mine != of_process)
    ::syscall(SYS_sched_setaffinity, 0, sizeof of_process, of_process.data());
}

void adopt_niceness(pid_t process) noexcept {
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  errno = 0;
  const int mine = ::getpriority(PRIO_PROCESS, thread);
  const int of_process = ::getpriority(PRIO_PROCESS, static_cast<id_t>(process));
  if (errno == 0 && mine != of_process) ::setpriority(PRIO_PROCESS, thread, of_process);
}

// The constant is of linux/ioprio.h, which since Linux 6.5 names a parameter `class`, and so does not compile as C++.
void adopt_io_priority(pid_t process) noexcept {
  constexpr int who_process = 1;
  const long mine = ::syscall(SYS_ioprio_get, who_process, 0);
  const long of_process = ::syscall(SYS_ioprio_get, who_process, process);
  if (mine >= 0 && of_process >= 0 && mine != of_process) ::syscall(SYS_ioprio_set, who_process, 0, of_process);
}

struct start {
  const char* name;
  void (*body)(void*) noexcept;
  void* argument;
};

/// The process generation, and below it the number of running background threads; a child of fork(2) has none of them.
/// Each thread counts itself, so the number is never too large. It orders no memory.
constinit std::atomic<std::uint64_t> running{0};

std::uint32_t count_in(std::uint64_t word) noexcept {
  return word >> 32 == process_generation() ? static_cast<std::uint32_t>(word) : 0;
}

void count(std::uint32_t change) noexcept {
  auto word = running.load(std::memory_order_relaxed);
  std::uint64_t next = 0;
  do next = std::uint64_t{process_generation()} << 32 | (count_in(word) + change);
  while (!running.compare_exchange_weak(word, next, std::memory_order_relaxed));
}

void* run(void* begun) noexcept {
  const auto [name, body, argument] = *std::unique_ptr<start>{static_cast<start*>(begun)};
  count(1);
  pthread_setname_np(pthread_self(), name);
  const pid_t process = ::getpid();
  adopt_affinity(process);
  adopt_niceness(process);
  adopt_io_priority(process);
  body(argument);
  count(-1U);
  return nullptr;
}

int create(pthread_attr_t* made_with, std::unique_ptr<start>& begun) noexcept {
  ::pthread_attr_setdetachstate(made_with, PTHREAD_CREATE_DETACHED);
  pthread_t thread{};
  const int error = ::pthread_create(&thread, made_with, run, begun.get());
  if (error == 0) std::ignore = begun.release();
  return error;
}

// A thread that has ended has no address space, so process_vm_readv(2) fails with ESRCH. The first thread of a process
// stays as a zombie until all threads have ended.
bool has_first_thread_ended() noexcept {
  char there = 0;  // equivalent fault (constant): the call only tests whether it can be read
  char here = 0;   // equivalent fault (constant): nothing reads it
  const iovec to{.iov_base = &here, .iov_len = 1};
  const iovec from{.iov_base = &there, .iov_len = 1};
  return ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) < 0 && errno == ESRCH;
}

/// @return 0 if the number cannot be determined. Opens nothing, so it takes no descriptor number.
unsigned count_threads() noexcept {
  constexpr nlink_t of_the_folder = 2;
  struct stat tasks{};
  if (::stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink <= of_the_folder) return 0;
  return static_cast<unsigned>(tasks.st_nlink - of_the_folder);
}

}  // namespace

bool only_background_threads_are_left() noexcept {
  return has_first_thread_ended() && count_threads() == count_in(running.load(std::memory_order_relaxed)) + 1;
}

std::error_code start_background_thread(const char* name, void (*body)(void*) noexcept, void* argument) noexcept {
  std::unique_ptr<start> begun{new (std::nothrow) start{.name = name, .body = body, .argument = argument}};
  if (begun == nullptr) return std::make_error_code(std::errc::not_enough_memory);
  const all_signals_blocked here;
  int error = 0;
  {
    attributes wanted;
    error = wanted.error();
    if (error == 0) {
      choose_stack(*wanted.native());
      choose_policy(*wanted.native());
      error = create(wanted.native(), begun);
    }
  }
  // The system may refuse the policy, or have no memory for the stack: a thread like its creator is better than none.
  if (attributes plain; error != 0 && plain.error() == 0) error = create(plain.native(), begun);
  if (error == 0) return {};
  // The same error for every reason (a limit, a sandbox that forbids clone(2)), so that the caller may try again, and
  // does not mistake the error for one of its own calls.
  return std::make_error_code(std::errc::resource_unavailable_try_again);
}

}  // namespace doorbell::base
