// SPDX-License-Identifier: Apache-2.0
//
// Random programs of AIO, on the kernel and on doorbell.
#include <csignal>
#include <iostream>

#include "aio_lockstep.hpp"
#include "support/random_programs.hpp"

namespace {

using namespace doorbell::test;  // NOLINT(google-build-using-namespace): it is a part of them

void report(std::uint64_t seed, const std::string& first, const aio_program& program, const std::string& difference) {
  std::cout << "seed " << seed << ": " << first << "\nthe shortest program that shows a difference:\n";
  for (const auto& one : program) std::cout << "  " << one << '\n';
  std::cout << "  " << difference << '\n';
}

auto agreement(bool verbose) {
  return [verbose, both = std::make_shared<aio_lockstep>(verbose ? &std::cout : nullptr)](std::uint64_t seed) {
    if (verbose) std::cout << "seed " << seed << '\n';
    const auto program = random_aio_program(seed);
    const auto difference = both->run(program);
    if (!difference) return true;
    const auto differs = [&](const aio_program& candidate) { return both->run(candidate).has_value(); };
    const auto least = shortest(program, differs, simpler);
    report(seed, *difference, least, both->run(least).value_or("but not every time"));
    return false;
  };
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse_options(argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  return run_in_workers(options, [&] { return agreement(options.verbose); });
}
