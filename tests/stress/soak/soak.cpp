// SPDX-License-Identifier: Apache-2.0
//
// Runs all loads concurrently, for any length of time; see --help.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <system_error>
#include <vector>

#include <doorbell/aio.hpp>

#include "events.hpp"
#include "invariant.hpp"
#include "load.hpp"
#include "load_threads.hpp"
#include "options.hpp"
#include "samples.hpp"
#include "support/sanitizer.hpp"

namespace {

using namespace std::chrono_literals;
using namespace doorbell::soak;
using clock_type = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;
using doorbell::aio::engine_kind;

constexpr auto patience = doorbell::test::sanitized ? 240s : 60s;
constexpr auto between_lines = 10s;

bool is_there(engine_kind engine) {
  std::error_code refused;
  const doorbell::aio::context ctx{8, engine, refused};
  return !refused;
}

std::vector<std::unique_ptr<load>> make_loads(std::uint64_t seed) {
  std::vector<std::unique_ptr<load>> made;
  made.push_back(make_sums(seed));
  made.push_back(make_notifiers(seed + 100));
  made.push_back(make_contexts(seed + 200, engine_kind::threads));
  if (is_there(engine_kind::io_uring))
    made.push_back(make_contexts(seed + 300, engine_kind::io_uring));
  else
    std::puts("no io_uring here: contexts by threads only");
  made.push_back(make_loops(seed + 400));
  if (doorbell::test::sanitized)
    std::puts("no forks: sanitizers do not support them");
  else
    made.push_back(make_forks());
  return made;
}

/// The signals that end the run early. All threads block them, and wait_for() waits for them.
class interrupts {
 public:
  interrupts() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGINT);
    ::sigaddset(&signals_, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }

  /// Sleeps. @return whether a signal has arrived meanwhile.
  [[nodiscard]] bool wait_for(seconds length) const {
    const auto whole = std::chrono::duration_cast<std::chrono::nanoseconds>(std::max(length, seconds{0}));
    const timespec timeout{.tv_sec = static_cast<time_t>(whole.count() / 1'000'000'000),
                           .tv_nsec = static_cast<long>(whole.count() % 1'000'000'000)};
    return ::sigtimedwait(&signals_, nullptr, &timeout) > 0;
  }

 private:
  sigset_t signals_{};
};

/// Shows the progress: on a terminal one line that changes, otherwise a line from time to time.
class progress {
 public:
  void tell(const sample& now, seconds length) {
    if (!terminal_ && now.at < next_) return;
    next_ = now.at + between_lines;
    std::printf("%s%.0f of %.0f s, %llu rounds, heap %zu KiB, resident %zu KiB, %zu threads, %zu descriptors%s",
                terminal_ ? "\r\033[K" : "", now.at.count(), length.count(),
                static_cast<unsigned long long>(now.rounds), now.of(counted::heap), now.of(counted::resident),
                now.of(counted::threads), now.of(counted::descriptors), terminal_ ? "" : "\n");
    std::fflush(stdout);
  }
  void end() const {
    if (terminal_) std::puts("");
  }

 private:
  const bool terminal_ = ::isatty(STDOUT_FILENO) != 0;
  seconds next_{0};
};

class soak {
 public:
  explicit soak(const options& asked) : options_{asked} {
    for (auto& each : make_loads(asked.seed))
      load_threadss_.push_back(std::make_unique<load_threads>(std::move(each), gate_));
  }

  void run(const interrupts& early_end) {
    // About sixty samples, more in long runs.
    const auto interval = std::clamp(options_.length / 60, seconds{0.4}, seconds{10});
    bool interrupted = false;
    while (!interrupted && elapsed() < options_.length && violations() == 0) {
      interrupted = early_end.wait_for(std::min(interval, options_.length - elapsed()));
      sample_at_rest();
      progress_.tell(samples_.last(), options_.length);
    }
    progress_.end();
    gate_.end();
    for (auto& each : load_threadss_) rounds_.emplace_back(each->work().name(), each->rounds());
    load_threadss_.clear();
  }

  [[nodiscard]] bool report() const {
    for (const auto& [name, rounds] : rounds_)
      std::printf("%-22.*s %llu rounds\n", static_cast<int>(name.size()), name.data(),
                  static_cast<unsigned long long>(rounds));
    samples_.print_table(stdout);
    const bool flat = samples_.print_verdict(stdout);
    std::printf("seed %llu, %zu violations\n", static_cast<unsigned long long>(options_.seed), violations().load());
    return flat && violations() == 0;
  }

 private:
  [[nodiscard]] seconds elapsed() const { return clock_type::now() - begin_; }

  void sample_at_rest() {
    if (!gate_.close(load_threadss_.size(), patience)) end_by_hang();
    auto now = sample::take();
    now.at = elapsed();
    for (const auto& each : load_threadss_) now.rounds += each->rounds();
    samples_.add(now);
    gate_.open();
  }

  [[noreturn]] void end_by_hang() const {
    for (const auto& each : load_threadss_)
      if (!each->at_rest())
        std::fprintf(stderr, "hangs: %.*s\n", static_cast<int>(each->work().name().size()), each->work().name().data());
    samples_.print_table(stderr);
    std::abort();
  }

  const options options_;
  const clock_type::time_point begin_ = clock_type::now();
  gate gate_;
  std::vector<std::unique_ptr<load_threads>> load_threadss_;
  std::vector<std::pair<std::string_view, std::uint64_t>> rounds_;
  samples samples_;
  progress progress_;
};

}  // namespace

int main(int argc, char** argv) {
  const auto asked = parse_options(argc, argv);
  ::signal(SIGPIPE, SIG_IGN);
  if (asked.events) return run_events(asked) ? EXIT_SUCCESS : EXIT_FAILURE;
  const interrupts early_end;
  soak all{asked};
  all.run(early_end);
  return all.report() ? EXIT_SUCCESS : EXIT_FAILURE;
}
