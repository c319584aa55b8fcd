// SPDX-License-Identifier: Apache-2.0
//
// What every benchmark program here has in common: a second thread that sleeps all the time, and the versions of the
// peers in the output.
#include <benchmark/benchmark.h>
#include <boost/version.hpp>

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

namespace {

// glibc's locks and malloc take short cuts, and shared pointers count without atomics, in a process that has one
// thread. No program that needs an eventfd is such a process, so nobody is measured in one.
void sleep_until_stopped(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait(lock, stop, [] { return false; });
}

}  // namespace

int main(int argc, char** argv) {
  const std::jthread second{sleep_until_stopped};
  benchmark::AddCustomContext("boost", BOOST_LIB_VERSION);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const bool ran_any = benchmark::RunSpecifiedBenchmarks() > 0;
  benchmark::Shutdown();
  return ran_any ? 0 : 1;
}
