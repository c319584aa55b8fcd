// SPDX-License-Identifier: Apache-2.0
//
// Random programs of eventfds, on the kernel and on doorbell.
#include <sys/eventfd.h>

#include <iostream>
#include <memory>

#include "eventfd_lockstep.hpp"
#include "kernel_aio.hpp"
#include "support/random_programs.hpp"

namespace doorbell::test {
namespace {

using kind = eventfd_operation::kind;

constexpr std::array names{"create", "duplicate",   "close",  "read", "read bytes",
                           "write",  "write bytes", "signal", "poll", "info"};
constexpr std::array kinds{kind::create, kind::duplicate,  kind::close,  kind::read,   kind::read,
                           kind::read,   kind::write,      kind::write,  kind::write,  kind::poll,
                           kind::info,   kind::read_bytes, kind::signal, kind::signal, kind::write_bytes};
constexpr std::array<int, 7> flags{EFD_NONBLOCK,
                                   EFD_NONBLOCK,
                                   EFD_NONBLOCK | EFD_SEMAPHORE,
                                   EFD_NONBLOCK | EFD_SEMAPHORE,
                                   EFD_CLOEXEC,
                                   EFD_SEMAPHORE,
                                   2};
constexpr std::array<std::uint64_t, 9> values{0, 1, 1, 2, 5, UINT32_MAX, UINT64_MAX - 2, UINT64_MAX - 1, UINT64_MAX};
constexpr std::array<std::uint64_t, 6> read_sizes{0, 7, 8, 8, 9, 64};
// None above 8: kernels before 6.10 accept such writes and use the first 8 bytes.
constexpr std::array<std::uint64_t, 4> write_sizes{0, 1, 7, 8};

eventfd_operation random_operation(random_numbers& random) {
  eventfd_operation made;
  made.what = random.one_of(kinds);
  made.handle = static_cast<unsigned>(random.below(eventfd_handles));
  made.other = static_cast<unsigned>(random.below(eventfd_handles));
  made.flags = random.one_of(flags);
  made.value = random.one_of(values);
  static const bool has_signals = kernel_aio{}.works();
  if (made.what == kind::signal && !has_signals) made.what = kind::write;
  if (made.what == kind::read_bytes) made.value = random.one_of(read_sizes);
  if (made.what == kind::write_bytes) made.value = random.one_of(write_sizes);
  return made;
}

auto agreement(bool verbose) {
  return [verbose, both = std::make_shared<eventfd_lockstep>(verbose ? &std::cout : nullptr)](std::uint64_t seed) {
    if (verbose) std::cout << "seed " << seed << '\n';
    const auto program = random_eventfd_program(seed);
    const auto difference = both->run(program);
    if (!difference) return true;
    const auto differs = [&](const eventfd_program& candidate) { return both->run(candidate).has_value(); };
    const auto nothing_simpler = [](const eventfd_operation&) { return eventfd_program{}; };
    std::cout << "seed " << seed << ": " << *difference << "\nthe shortest program that shows a difference:\n";
    for (const auto& one : shortest(program, differs, nothing_simpler)) std::cout << "  " << one << '\n';
    return false;
  };
}

}  // namespace

// Each program begins with the creation of the first two eventfds, so that few operations use a closed one.
eventfd_program random_eventfd_program(std::uint64_t seed) {
  random_numbers random{seed};
  eventfd_program made;
  for (unsigned handle = 0; handle < 2; ++handle)
    made.push_back(
        {.what = kind::create, .handle = handle, .other = 0, .flags = random.one_of(flags), .value = handle});
  for (auto left = 1 + random.below(30); left > 0; --left) made.push_back(random_operation(random));
  return made;
}

std::ostream& operator<<(std::ostream& out, const eventfd_operation& one) {
  out << names[static_cast<std::size_t>(one.what)] << ", handle " << one.handle;
  if (one.what == kind::duplicate) out << " into " << one.other;
  if (one.what == kind::create) out << ", flags " << one.flags;
  return out << ", value " << one.value;
}

}  // namespace doorbell::test

int main(int argc, char** argv) {
  const auto options = doorbell::test::parse_options(argc, argv);
  return doorbell::test::run_in_workers(options, [&] { return doorbell::test::agreement(options.verbose); });
}
