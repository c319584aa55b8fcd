// SPDX-License-Identifier: Apache-2.0
//
// The main function of every benchmark program. It starts a second thread that always sleeps, adds the versions of the
// peers to the output, and returns a nonzero exit status if a benchmark failed.
#include <benchmark/benchmark.h>
#include <gnu/libc-version.h>
#include <unistd.h>
#include <boost/version.hpp>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace {

// In a process with a single thread, glibc's locks and malloc take faster paths, and std::shared_ptr counts without
// atomic operations. Programs that use eventfds have several threads, so the peers are not measured in such a process.
void sleep_until_stopped(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait(lock, stop, [] { return false; });
}

class reporter : public benchmark::ConsoleReporter {
 public:
  reporter() : ConsoleReporter{::isatty(STDOUT_FILENO) ? OO_ColorTabular : OO_Tabular} {}

  void ReportRuns(const std::vector<Run>& runs) override {
    failed_ = failed_ || std::ranges::any_of(runs, [](const auto& run) { return has_failed(run); });
    ConsoleReporter::ReportRuns(runs);
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  // Google Benchmark reports an error in `error_occurred` before version 1.8, and in `skipped` from 1.8 on.
  template <class AnyRun>
  [[nodiscard]] static bool has_failed(const AnyRun& run) {
    if constexpr (requires { run.error_occurred; })
      return run.error_occurred;
    else
      return static_cast<bool>(run.skipped);
  }

  bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  const std::jthread second{sleep_until_stopped};
  benchmark::AddCustomContext("Boost", BOOST_LIB_VERSION);
  benchmark::AddCustomContext("Compiler", __VERSION__);
  benchmark::AddCustomContext("glibc", ::gnu_get_libc_version());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  reporter console;
  const bool ran_any = benchmark::RunSpecifiedBenchmarks(&console) > 0;
  benchmark::Shutdown();
  return ran_any && !console.failed() ? 0 : 1;
}
