// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <algorithm>

#include "failure.hpp"

namespace doorbell::model {

void* memory::allocate(const accessor& by, std::size_t bytes, std::size_t alignment) noexcept {
  void* const made = heap_.allocate(bytes, alignment, by.thread);
  races_.begin(made, bytes);
  return made;
}

void memory::release(const accessor& by, void* at) noexcept {
  const auto& gone = heap_.release(at, by.thread);
  races_.access(by, gone.begin, gone.bytes, access_kind::write);
}

void memory::access(const accessor& by, const void* at, std::size_t bytes, access_kind how) noexcept {
  if (heap_.owns(at))
    access_heap(by, at, bytes, how);
  else if (const auto owner = stacks_.owner(at))
    access_stack(by, *owner, at, bytes, how);
  else if (mapping_of(at) != nullptr)
    in_mappings_.add(by, first_mapping_of(at), bytes, how);
}

void memory::add_mapping(const void* at, std::size_t bytes, const void* first) {
  mappings_.push_back(
      {.begin = static_cast<const std::byte*>(at), .bytes = bytes, .first = static_cast<const std::byte*>(first)});
}

const memory::mapping* memory::mapping_of(const void* at) const noexcept {
  const auto found = std::ranges::find_if(
      mappings_, [at](const auto& each) { return at >= each.begin && at < each.begin + each.bytes; });
  return found != mappings_.end() ? &*found : nullptr;
}

const void* memory::first_mapping_of(const void* at) const noexcept {
  const auto* const found = mapping_of(at);
  return found != nullptr ? found->first + (static_cast<const std::byte*>(at) - found->begin) : at;
}

void memory::access_heap(const accessor& by, const void* at, std::size_t bytes, access_kind how) noexcept {
  const auto first = heap_.offset_of(at);
  for (const auto offset : {first, first + bytes - 1}) {
    switch (heap_.state_at(offset)) {
      case arena::state::live:
        continue;
      case arena::state::freed:
        fail(failure::use_after_free, thread_name(by.thread) + " accesses " + heap_.describe(at));
      case arena::state::never_allocated:
        fail(failure::out_of_bounds, thread_name(by.thread) + " accesses memory that was not allocated");
    }
  }
  races_.access(by, at, bytes, how);
}

void memory::access_stack(const accessor& by, thread_id owner, const void* at, std::size_t bytes,
                          access_kind how) noexcept {
  if (owner == by.thread) {
    on_stacks_[owner].compare(by, at, bytes, how);
    return;
  }
  if (at < stack_ends_[owner])
    fail(failure::use_after_free, thread_name(by.thread) + " accesses the stack frame of a function of " +
                                      thread_name(owner) + " that has returned");
  on_stacks_[owner].add(by, at, bytes, how);
}

void memory::expect_no_leak() const noexcept {
  if (const auto* const left = heap_.first_live())
    fail(failure::leak,
         std::to_string(left->bytes) + " bytes that " + thread_name(left->made_by) + " has allocated are never freed");
}

void memory::clear() noexcept {
  heap_.clear();
  for (auto& each : on_stacks_) each.clear();
  mappings_.clear();
  in_mappings_.clear();
}

}  // namespace doorbell::model
