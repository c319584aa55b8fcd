// SPDX-License-Identifier: Apache-2.0
#include "user_memory.hpp"

#include <doorbell/base/unique_fd.hpp>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <string_view>

namespace doorbell::aio {
namespace {

using copy_call = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);

enum class outcome { done, no_memory, forbidden };

outcome copy(copy_call how, void* here, void* there, std::size_t bytes) noexcept {
  const iovec ours{.iov_base = here, .iov_len = bytes};
  const iovec theirs{.iov_base = there, .iov_len = bytes};
  // gettid() instead of getpid(): the main thread, whose number is the process's, may have ended.
  if (how(::gettid(), &ours, 1, &theirs, 1, 0) == static_cast<ssize_t>(bytes)) return outcome::done;
  return errno == EPERM || errno == ENOSYS ? outcome::forbidden : outcome::no_memory;
}

// Sandboxes forbid process_vm_readv(2), even for the process itself. With a pipe, the kernel checks both addresses,
// too.
bool copy_through_pipe(const void* from, void* to, std::size_t bytes) noexcept {
  std::array<int, 2> ends{-1, -1};
  // equivalent fault (dropped): a write(2) to no descriptor fails, too
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  const base::unique_fd out{ends[0]};
  const base::unique_fd in{ends[1]};
  constexpr std::size_t chunk = PIPE_BUF;  // an empty pipe has room for this many bytes
  for (std::size_t at = 0; at < bytes;) {
    const auto now = std::min(chunk, bytes - at);
    const auto written = ::write(in.get(), static_cast<const char*>(from) + at, now);
    if (written <= 0 || ::read(out.get(), static_cast<char*>(to) + at, static_cast<std::size_t>(written)) != written)
      return false;
    at += static_cast<std::size_t>(written);
  }
  return true;
}

/// Whether `attempt(address)` succeeds for a byte in each page.
template <class Attempt>
bool in_each_page(std::uintptr_t begin, std::size_t bytes, Attempt attempt) noexcept {
  constexpr std::uintptr_t page = 4096;  // the smallest page size; with larger pages, several bytes of a page are tried
  for (auto at = begin; at < begin + bytes; at = (at / page + 1) * page)
    if (!attempt(reinterpret_cast<void*>(at))) return false;
  return true;
}

}  // namespace

bool read_memory(const void* from, void* to, std::size_t bytes) noexcept {
  // The cast is safe: process_vm_readv(2) does not write there.
  const auto result = copy(&::process_vm_readv, to, const_cast<void*>(from), bytes);
  return result == outcome::done || (result == outcome::forbidden && copy_through_pipe(from, to, bytes));
}

bool write_memory(void* to, const void* from, std::size_t bytes) noexcept {
  // The cast is safe: process_vm_writev(2) only reads from there.
  const auto result = copy(&::process_vm_writev, const_cast<void*>(from), to, bytes);
  return result == outcome::done || (result == outcome::forbidden && copy_through_pipe(from, to, bytes));
}

bool is_strict() noexcept {
  static const bool strict = [] {
    const char* const asked = ::secure_getenv("DOORBELL_STRICT");
    return asked != nullptr && *asked != '\0' && std::string_view{asked} != "0";
  }();
  return strict;
}

bool try_to_read(const void* address, std::size_t bytes) noexcept {
  return in_each_page(reinterpret_cast<std::uintptr_t>(address), bytes, [](const void* at) {
    char there = 0;
    return read_memory(at, &there, 1);
  });
}

bool try_to_write(void* address, std::size_t bytes) noexcept {
  return in_each_page(reinterpret_cast<std::uintptr_t>(address), bytes, [](void* at) {
    char there = 0;
    return read_memory(at, &there, 1) && write_memory(at, &there, 1);
  });
}

}  // namespace doorbell::aio
