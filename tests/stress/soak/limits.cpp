// SPDX-License-Identifier: Apache-2.0
#include "limits.hpp"

#include <system_error>
#include <thread>

#include "invariant.hpp"

namespace doorbell::soak {
namespace {

constexpr std::array<__rlimit_resource, 3> resources{RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_MEMLOCK};

}  // namespace

limits::limits(int first_unknown, bool lowers_processes)
    : first_unknown_{first_unknown}, lowers_processes_{lowers_processes} {
  for (std::size_t at = 0; at < resources.size(); ++at) ::getrlimit(resources.at(at), &before_.at(at));
}

bool limits::can_lack_threads() {
  rlimit before{};
  ::getrlimit(RLIMIT_NPROC, &before);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_NPROC, &none);
  bool is_refused = false;
  try {
    std::thread{[] {}}.join();
  } catch (const std::system_error&) {
    is_refused = true;
  }
  ::setrlimit(RLIMIT_NPROC, &before);
  return is_refused;
}

void limits::lower_one(std::minstd_rand& random) {
  switch (random() % (lowers_processes_ ? 3 : 2)) {
    case 0: {
      // From no free descriptor to as many as a small process uses.
      const auto few = static_cast<rlim_t>(first_unknown_) + random() % 12;
      ++counts_.descriptors;
      return lower(0, random() % 3 == 0 ? 64 + random() % 200 : few);
    }
    case 1:
      ++counts_.locked_memory;
      return lower(2, random() % 2 == 0 ? 0 : 65536);
    default:
      ++counts_.processes;
      return lower(1, 0);
  }
}

void limits::lower(std::size_t which, rlim_t to) {
  lowered_.fetch_add(1, std::memory_order_seq_cst);
  const rlimit limit{.rlim_cur = to, .rlim_max = before_.at(which).rlim_max};
  require(::setrlimit(resources.at(which), &limit) == 0, "a limit can be lowered", static_cast<long long>(which));
}

void limits::raise_all() {
  if (!are_lowered()) return;
  for (std::size_t at = 0; at < resources.size(); ++at)
    require(::setrlimit(resources.at(at), &before_.at(at)) == 0, "a limit can be raised again",
            static_cast<long long>(at));
  change_.fetch_add(1, std::memory_order_seq_cst);
  lowered_.store(0, std::memory_order_seq_cst);
}

}  // namespace doorbell::soak
