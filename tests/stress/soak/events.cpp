// SPDX-License-Identifier: Apache-2.0
#include "events.hpp"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <doorbell/aio.hpp>
#include <doorbell/aio_calls.hpp>

#include "event_worker.hpp"
#include "invariant.hpp"
#include "limits.hpp"
#include "samples.hpp"
#include "support/by_engine.hpp"
#include "support/restricted.hpp"
#include "support/sanitizer.hpp"
#include "unknown_descriptors.hpp"

namespace doorbell::soak {
namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

constexpr std::size_t threads = 3;
constexpr auto hang_after = test::sanitized ? 240s : 120s;
constexpr auto notice_within = 1200ms;
// The reaper, a poller, and the usual number of workers.
constexpr std::size_t usual_helpers = 6;
constexpr auto longest_rest = 8s;
constexpr auto longest_clone = 15s;
constexpr unsigned child_patience_in_seconds = 40;

std::atomic<std::uint64_t> handled{0};

void count_signal(int) { handled.fetch_add(1, std::memory_order_relaxed); }

void install_handlers() {
  struct sigaction action{};
  action.sa_handler = &count_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGUSR1, &action, nullptr);
  action.sa_flags = 0;
  ::sigaction(SIGUSR2, &action, nullptr);
}

sigset_t both_signals() {
  sigset_t made;
  ::sigemptyset(&made);
  ::sigaddset(&made, SIGUSR1);
  ::sigaddset(&made, SIGUSR2);
  return made;
}

/// RLIMIT_NPROC has no effect on root. A process that has changed its user can read its own folder in /proc only if it
/// is dumpable.
bool is_root_no_more() {
  return ::geteuid() != 0 || (test::become_undumpable() && ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
}

/// Closes inherited descriptors, so that the program's files get the lowest numbers.
int close_inherited() {
  ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
  return STDERR_FILENO + 1;
}

/// The use of AIO in a child, and its checks.
class child_program {
 public:
  child_program(int file, int first_unknown) noexcept : file_{file}, first_unknown_{first_unknown} {}

  [[nodiscard]] static bool has_none_of_parents(std::span<const aio::aio_context_t> parents) noexcept {
    return std::ranges::all_of(parents, [](auto handle) {
      aio::io_event event{};
      timespec none{};
      return aio::io_getevents(handle, 0, 1, &event, &none) == -EINVAL;
    });
  }
  [[nodiscard]] bool makes_its_own(bool closes_all) const noexcept {
    try {
      if (closes_all) ::syscall(SYS_close_range, first_unknown_, ~0U, 0);
      return works(aio::engine_kind::automatic) && works(aio::engine_kind::threads);
    } catch (const std::exception&) {
      return false;
    }
  }

 private:
  [[nodiscard]] bool works(aio::engine_kind engine) const {
    const eventfd efd;
    aio::context ctx{8, engine};
    auto read = test::by_engine(aio::prep_pread(file_, buffer_.get(), test::block, 0));
    read.set_eventfd(efd);
    std::array<aio::io_event, 1> events{};
    return ctx.submit({&read}) == 1 && efd.read_for(20s) == 1 && ctx.get_events(1, events, 20s).size() == 1 &&
           events[0].res == static_cast<std::int64_t>(test::block) && buffer_.get()[0] == 's';
  }

  const int file_;
  const int first_unknown_;
  const test::blocks buffer_ = test::blocks_of('?');
};

class event_soak {
 public:
  explicit event_soak(const options& asked)
      : options_{asked}, random_{static_cast<std::minstd_rand::result_type>(asked.seed)} {
    world_.only = asked.engine;
    const auto signals = both_signals();
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    for (std::size_t at = 0; at < threads; ++at)
      workers_.push_back(std::make_unique<event_worker>(world_, *files_.at(at), asked.seed + 1 + at));
  }

  [[nodiscard]] bool run() {
    start_threads();
    const auto interval = std::clamp(options_.length / 60, seconds{1}, seconds{60});
    auto next_sample = interval;
    while (elapsed() < options_.length && violations() == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds{random_() % 30'000});
      let_something_happen();
      if (elapsed() < next_sample) continue;
      take_sample();
      next_sample = elapsed() + interval;
    }
    lowered_.raise_all();
    if (violations() == 0) take_sample();
    join_threads();
    unknown_.check_and_close_files();
    return report();
  }

 private:
  using files = std::array<std::unique_ptr<event_files>, threads>;

  struct event_counts {
    std::uint64_t between_calls = 0;
    std::uint64_t idle = 0;
    std::uint64_t forks = 0;
    std::uint64_t clones = 0;
    std::uint64_t clones_idle = 0;
    std::uint64_t clones_stuck = 0;
    std::uint64_t signals = 0;
  };

  static files open_files() {
    files made;
    for (auto& each : made) each = std::make_unique<event_files>();
    return made;
  }

  void start_threads() {
    for (auto& each : workers_)
      threads_.emplace_back([&each] {
        const auto signals = both_signals();
        ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
        each->run();
      });
  }

  void join_threads() {
    std::atomic<bool> has_ended{false};
    const std::jthread watcher{[&] {
      const auto give_up = clock_type::now() + hang_after;
      while (!has_ended && clock_type::now() < give_up) std::this_thread::sleep_for(10ms);
      if (!has_ended) end_by_hang();
    }};
    world_.ends = true;
    threads_.clear();
    has_ended = true;
  }

  void let_something_happen() {
    const auto dice = random_() % 100;
    if (dice < 5) return close_unknown(pause::depth::between_calls, counts_.between_calls);
    if (dice < 10) return close_unknown(pause::depth::idle, counts_.idle);
    if (dice < 15) return fork_child();
    if (dice < 18) return clone_child_under_load();
    if (dice < 20) return clone_child_while_idle();
    if (dice < 40) return change_limits();
    send_signals();
  }

  void with_pause(pause::depth how, auto body) {
    if (!world_.pause.begin(how, threads, hang_after)) end_by_hang();
    body();
    world_.pause.end();
  }

  // Not while a thread is inside a call, and not within a second after the last close, while the library's threads
  // replace their lost descriptors: closing a descriptor while another thread uses it is a race.
  //
  // Not with ThreadSanitizer: it would report that the library's threads use a descriptor whose close it has not seen.
  void close_unknown(pause::depth how, std::uint64_t& count) {
    if (test::thread_sanitized || clock_type::now() < next_close_) return;
    with_pause(how, [&] {
      ++world_.closes;
      unknown_.take(random_);
      ++world_.closes;
    });
    next_close_ = clock_type::now() + notice_within;
    ++count;
  }

  void change_limits() {
    if (lowered_.are_lowered())
      lowered_.raise_all();
    else
      lowered_.lower_one(random_);
  }

  void send_signals() {
    for (auto left = 1 + random_() % 16; left > 0; --left) {
      const int signal = random_() % 2 == 0 ? SIGUSR1 : SIGUSR2;
      if (random_() % 4 == 0)
        ::kill(::getpid(), signal);
      else
        ::pthread_kill(threads_.at(random_() % threads_.size()).native_handle(), signal);
      ++counts_.signals;
    }
  }

  [[nodiscard]] std::array<aio::aio_context_t, threads> handles() const {
    std::array<aio::aio_context_t, threads> made{};
    std::ranges::transform(workers_, made.begin(), [](const auto& each) { return each->handle(); });
    return made;
  }

  // A child of fork(2): the fork handlers of the library and libc have run, so the child may make any call.
  void fork_child() {
    if (test::sanitized || lowered_.are_lowered()) return;
    const child_program program{child_file_.get(), first_unknown_};
    const bool closes_all = random_() % 2 == 0;
    const auto parents = handles();
    const pid_t child = ::fork();
    if (child == 0)
      be_child([&] { return child_program::has_none_of_parents(parents) && program.makes_its_own(closes_all); });
    expect_success(child);
    ++counts_.forks;
  }

  // Another thread may be inside malloc(3), so this child allocates no memory.
  void clone_child_under_load() {
    if (test::sanitized || lowered_.are_lowered()) return;
    const auto parents = handles();
    const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (child == 0) be_child([&] { return child_program::has_none_of_parents(parents); });
    expect_success(child);
    ++counts_.clones;
  }

  void clone_child_while_idle() {
    if (test::sanitized || lowered_.are_lowered()) return;
    const child_program program{child_file_.get(), first_unknown_};
    const bool closes_all = random_() % 2 == 0;
    with_pause(pause::depth::idle, [&] {
      const auto parents = handles();
      const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
      if (child == 0)
        be_child([&] { return child_program::has_none_of_parents(parents) && program.makes_its_own(closes_all); });
      if (ends_in_time(child)) {
        expect_success(child);
      } else {
        // One of the library's threads was inside malloc(3), or was creating a thread or ending.
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        ++counts_.clones_stuck;
      }
    });
    ++counts_.clones_idle;
  }

  /// SIGALRM ends a child that hangs.
  [[noreturn]] static void be_child(auto is_whole) {
    ::alarm(child_patience_in_seconds);
    ::_exit(is_whole() ? EXIT_SUCCESS : EXIT_FAILURE);
  }

  [[nodiscard]] static bool ends_in_time(pid_t child) {
    const auto give_up = clock_type::now() + longest_clone;
    siginfo_t ended{};
    while (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0) {
      if (clock_type::now() > give_up) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  static void expect_success(pid_t child) {
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child) return require(false, "a child can be created", errno);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child uses its own contexts, and ends", status);
  }

  void take_sample() {
    lowered_.raise_all();
    unknown_.check_and_close_files();
    with_pause(pause::depth::empty, [&] {
      auto now = sample::take();
      const auto give_up = clock_type::now() + std::min<seconds>(longest_rest, options_.length / 10);
      while (now.of(counted::helpers) > usual_helpers && clock_type::now() < give_up) {
        std::this_thread::sleep_for(50ms);
        now = sample::take();
      }
      now.at = elapsed();
      for (const auto& each : workers_) now.rounds += each->counts().answered;
      samples_.add(now);
    });
  }

  [[nodiscard]] seconds elapsed() const { return clock_type::now() - begin_; }

  [[noreturn]] void end_by_hang() const {
    for (const auto& each : workers_)
      std::fprintf(stderr, "hangs: a thread that last did: %s, after %llu steps\n", each->doing(),
                   static_cast<unsigned long long>(each->steps()));
    samples_.print_table(stderr);
    std::abort();
  }

  [[nodiscard]] unsigned long long sum(std::atomic<std::uint64_t> request_counts::* which) const {
    unsigned long long all = 0;
    for (const auto& each : workers_) all += each->counts().*which;
    return all;
  }

  [[nodiscard]] bool report() const;

  const options options_;
  const clock_type::time_point begin_ = clock_type::now();
  std::minstd_rand random_;
  const int lowest_ = close_inherited();
  const files files_ = open_files();
  const base::unique_fd child_file_ = test::temporary_file(std::string(test::block, 's'));
  const int first_unknown_ = child_file_.get() + 1;
  const bool can_be_limited_ = is_root_no_more() && limits::can_lack_threads();
  unknown_descriptors unknown_{first_unknown_};
  limits lowered_{first_unknown_, can_be_limited_};
  event_world world_{lowered_};
  std::vector<std::unique_ptr<event_worker>> workers_;
  std::vector<std::jthread> threads_;
  event_counts counts_;
  clock_type::time_point next_close_ = begin_;
  samples samples_;
};

bool event_soak::report() const {
  const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
  const auto accepted = sum(&request_counts::accepted);
  const auto answered = sum(&request_counts::answered);
  const auto destroyed = sum(&request_counts::destroyed);
  std::printf("descriptors taken away: %llu between calls, %llu idle; %llu new files checked\n",
              number(counts_.between_calls), number(counts_.idle), number(unknown_.checked()));
  std::printf("children: %llu by fork, %llu by clone, %llu by clone while idle (%llu stuck in libc)\n",
              number(counts_.forks), number(counts_.clones), number(counts_.clones_idle), number(counts_.clones_stuck));
  std::printf("signals: %llu sent, %llu handled, %llu waits interrupted\n", number(counts_.signals), number(handled),
              sum(&request_counts::interrupted));
  if (!can_be_limited_) std::puts("RLIMIT_NPROC is not lowered: it does not keep this user from creating threads");
  std::printf(
      "limits lowered: RLIMIT_NOFILE %llu, RLIMIT_NPROC %llu, RLIMIT_MEMLOCK %llu; then refused: %llu setups, "
      "%llu submits, %llu waits, %llu requests with an error in their event, %llu requests of ended threads\n",
      number(lowered_.lowered().descriptors), number(lowered_.lowered().processes),
      number(lowered_.lowered().locked_memory), sum(&request_counts::short_setups), sum(&request_counts::short_submits),
      sum(&request_counts::short_waits), sum(&request_counts::short_answers), sum(&request_counts::short_orphans));
  std::printf("contexts: %llu, %llu of them with io_uring\n", sum(&request_counts::contexts),
              sum(&request_counts::by_uring));
  std::printf("requests: %llu accepted, %llu answered (%llu cancelled), %llu ended by destroy\n", accepted, answered,
              sum(&request_counts::cancelled), destroyed);
  require(accepted == answered + destroyed, "each accepted request ends once",
          static_cast<long long>(accepted - answered - destroyed));
  samples_.print_table(stdout);
  const bool flat = samples_.print_verdict(stdout, samples::periods::first_and_last_tenth);
  std::printf("seed %llu, %zu violations\n", number(options_.seed), violations().load());
  return flat && violations() == 0;
}

}  // namespace

bool run_events(const options& asked) {
  install_handlers();
  event_soak all{asked};
  return all.run();
}

}  // namespace doorbell::soak
