// SPDX-License-Identifier: Apache-2.0
#include "thread_locals.hpp"

#include <cxxabi.h>
#include <link.h>

#include <cstring>
#include <span>

namespace doorbell::model {
namespace {

/// The program's own block of thread_local variables. Variables of shared libraries, such as errno, stay shared by all
/// threads.
std::span<std::byte> find_block() {
  std::span<std::byte> block;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t /*bytes*/, void* found) {
        for (const auto& header : std::span{info->dlpi_phdr, info->dlpi_phnum})
          if (header.p_type == PT_TLS && info->dlpi_tls_data != nullptr)
            *static_cast<std::span<std::byte>*>(found) = {static_cast<std::byte*>(info->dlpi_tls_data), header.p_memsz};
        return 1;  // the first is the program
      },
      &block);
  return block;
}

std::span<std::byte> the_block() {
  static const auto block = find_block();
  return block;
}

// First called before any scenario runs.
const std::vector<std::byte>& as_loaded() {
  static const std::vector<std::byte> content{the_block().begin(), the_block().end()};
  return content;
}

}  // namespace

thread_locals::thread_locals() : variables_{as_loaded()} {}

void thread_locals::replace(thread_locals& other) noexcept {
  const auto block = the_block();
  std::memcpy(other.variables_.data(), block.data(), block.size());
  std::memcpy(block.data(), variables_.data(), block.size());
  void* const exceptions = abi::__cxa_get_globals();
  std::memcpy(other.exceptions_.data(), exceptions, exceptions_.size());
  std::memcpy(exceptions, exceptions_.data(), exceptions_.size());
}

}  // namespace doorbell::model
