// SPDX-License-Identifier: Apache-2.0
#include "stack.hpp"

#include <sys/mman.h>

#include "failure.hpp"

namespace doorbell::model {
namespace {

std::byte* map(std::size_t bytes) {
  void* const made = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made == MAP_FAILED) fail(failure::broken_scenario, "the model checker cannot map its stacks");
  return static_cast<std::byte*>(made);
}

}  // namespace

stacks::stacks() : memory_{map(max_threads * bytes)} {}

}  // namespace doorbell::model
