// SPDX-License-Identifier: Apache-2.0
//
// Random programs of AIO, on the kernel and on doorbell. The first argument may choose how doorbell is used:
//
//   --old-kernel   makes the system calls fail that older kernels lack or sandboxes refuse; doorbell checks each
//                  pointer
//   --by-context   through aio::context, without the operations that the class does not offer
#include <fcntl.h>
#include <sys/uio.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "aio_lockstep.hpp"
#include "context_side.hpp"
#include "support/random_programs.hpp"
#include "support/refused_calls.hpp"

namespace {

using namespace doorbell::test;

void report(std::uint64_t seed, const std::string& first, const aio_program& program, const std::string& difference) {
  std::cout << "seed " << seed << ": " << first << "\nthe shortest program that shows a difference:\n";
  for (const auto& one : program) std::cout << "  " << one << '\n';
  std::cout << "  " << difference << '\n';
}

enum class way { by_handle, on_old_kernel, by_context };

way way_of(std::string_view option) {
  if (option == "--old-kernel") return way::on_old_kernel;
  return option == "--by-context" ? way::by_context : way::by_handle;
}

// Makes system calls fail as on an older kernel. The kernel's own AIO is not affected, and so behaves like a new one.
void get_old_kernel() {
  constexpr unsigned dupfd_query = 1027;  // F_DUPFD_QUERY
  for (const long call : {SYS_preadv2, SYS_pwritev2}) refuse(call, EOPNOTSUPP, 5, RWF_NOWAIT);
  for (const long call : {SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp}) refuse(call, EPERM);
  for (const long call : {SYS_close_range, SYS_mremap}) refuse(call, ENOSYS);
  refuse_value(SYS_fcntl, EINVAL, 1, dupfd_query);
}

// An old kernel does not know RWF_DONTCACHE, but the kernel on the other side may.
void for_old_kernel(operation& one) {
  constexpr std::int32_t dont_cache = 0x80;
  for (auto& each : one.requests)
    if (each.rw_flags == dont_cache) each.rw_flags = 0;
}

// Replaces operations that aio::context cannot express: those with bad pointers, or with a resfd that is no eventfd.
void for_context(operation& one) {
  using kind = operation::kind;
  if (one.what == kind::submit_badly || one.what == kind::get_badly || one.what == kind::destroy_twice)
    one.what = kind::get_all;
  if (one.what == kind::cancel) one.how = 15;
  for (auto& each : one.requests)
    if (each.efd == eventfd_choice::no_eventfd) each.efd = eventfd_choice::none;
}

aio_program program_of(std::uint64_t seed, way how) {
  auto program = random_aio_program(seed);
  for (auto& each : program) {
    if (how == way::on_old_kernel) for_old_kernel(each);
    if (how == way::by_context) for_context(each);
  }
  return program;
}

auto agreement(bool verbose, way how) {
  if (how == way::on_old_kernel) get_old_kernel();
  static const context_side contexts;
  const auto& side = how == way::by_context ? static_cast<const aio_side&>(contexts) : doorbells_aio();
  return [=, both = std::make_shared<aio_lockstep>(verbose ? &std::cout : nullptr, side)](std::uint64_t seed) {
    if (verbose) std::cout << "seed " << seed << '\n';
    const auto program = program_of(seed, how);
    const auto difference = both->run(program);
    if (!difference) return true;
    const auto differs = [&](const aio_program& candidate) { return both->run(candidate).has_value(); };
    const auto least = shortest(program, differs, simpler);
    report(seed, *difference, least,
           both->run(least).value_or("no difference in the last run: it does not occur every time"));
    return false;
  };
}

}  // namespace

int main(int argc, char** argv) {
  const auto how = way_of(argc > 1 ? argv[1] : "");
  const int own = how == way::by_handle ? 0 : 1;
  const auto options = parse_options(argc - own, argv + own);
  if (how == way::on_old_kernel) ::setenv("DOORBELL_STRICT", "1", 1);
  std::signal(SIGPIPE, SIG_IGN);
  return run_in_workers(options, [&] { return agreement(options.verbose, how); });
}
