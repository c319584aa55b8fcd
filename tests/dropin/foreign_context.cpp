// SPDX-License-Identifier: Apache-2.0
//
// foreign_context: creates a context of the kernel by the C library's own syscall(2), and a context of doorbell by the
// syscall(2) that the program is linked with. Calls by the latter work on both. A handle that is no longer valid is
// refused, and so is the address of a context of the kernel that doorbell uses for its own requests.
#include "by_number.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <string>

#include "support/files.hpp"

namespace {

namespace by_number = doorbell::test::by_number;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FAILED: %s (errno: %s)\n", what, std::strerror(errno));
  std::exit(EXIT_FAILURE);
}

/// Whether the memory at a handle is a ring that the kernel has mapped.
bool is_kernels(aio_context_t handle) {
  std::array<char, 32> start{};
  std::snprintf(start.data(), start.size(), "%08lx-", handle);
  std::ifstream mappings{"/proc/self/maps"};
  for (std::string line; std::getline(mappings, line);)
    if (line.starts_with(start.data())) return line.find("/[aio]") != std::string::npos;
  return false;
}

void read_by(aio_context_t context, const char* whose) {
  const auto file = doorbell::test::temporary_file("text");
  std::array<char, 4> text{};
  auto request = by_number::read_of(file.get(), text.data(), text.size(), 0);
  require(by_number::submit(context, request) == 1, whose);
  io_event event{};
  timespec soon{.tv_sec = 10, .tv_nsec = 0};
  require(by_number::get_events(context, 1, 1, &event, &soon) == 1, whose);
  require(event.res == 4 && std::memcmp(text.data(), "text", 4) == 0, whose);
  require(by_number::get_events(context, 0, 1, &event, &soon) == 0, whose);
}

/// The handle of the kernel's context in this process; 0 if there is none.
aio_context_t kernels_context() {
  std::ifstream mappings{"/proc/self/maps"};
  for (std::string line; std::getline(mappings, line);)
    if (line.find("/[aio]") != std::string::npos) return std::stoul(line, nullptr, 16);
  return 0;
}

// Reads with O_DIRECT. Doorbell passes such reads to a context of the kernel.
void read_directly(aio_context_t context, const doorbell::base::unique_fd& file) {
  alignas(4096) static std::array<char, 4096> page;
  page.fill(0);
  auto request = by_number::read_of(file.get(), page.data(), page.size(), 0);
  require(by_number::submit(context, request) == 1, "a direct read is submitted");
  io_event event{};
  timespec soon{.tv_sec = 10, .tv_nsec = 0};
  require(by_number::get_events(context, 1, 1, &event, &soon) == 1, "a direct read has an event");
  require(event.res == 4096 && page.front() == 'x' && page.back() == 'x', "a direct read reads");
}

void test_kernel_context_that_doorbell_uses() {
  const auto file = doorbell::test::temporary_file(std::string(4096, 'x'));
  require(::fsync(file.get()) == 0, "fsync");
  const std::string name = "/proc/self/fd/" + std::to_string(file.get());
  const doorbell::base::unique_fd direct{::open(name.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)};
  if (!direct) return;  // the file system has no O_DIRECT
  aio_context_t own = 0;
  require(by_number::setup(8, own) == 0, "a context by number");
  read_directly(own, direct);
  const auto used = kernels_context();
  require(used != 0, "doorbell uses a context of the kernel");
  require(by_number::destroy(used) == -1 && errno == EINVAL, "the program cannot destroy the kernel's context");
  read_directly(own, direct);
  require(by_number::destroy(own) == 0, "the context is destroyed");
  require(kernels_context() == used, "the kernel's context is kept");
  require(by_number::destroy(used) == -1 && errno == EINVAL, "the program cannot destroy the kept context");
}

void test_contexts_of_both() {
  void* const libc = ::dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  require(libc != nullptr, "the C library is found");
  using function = long (*)(long number, ...);
  const auto kernel = reinterpret_cast<function>(::dlsym(libc, "syscall"));
  require(kernel != nullptr, "the C library has syscall");

  aio_context_t kernels = 0;
  if (kernel(SYS_io_setup, 8, &kernels) != 0) std::exit(77);
  aio_context_t doorbells = 0;
  require(by_number::setup(8, doorbells) == 0, "a context by number");
  require(is_kernels(kernels), "the C library's call creates a context of the kernel");
  require(!is_kernels(doorbells), "the program's call creates a context of doorbell");
  read_by(kernels, "a read by the kernel's context");
  for (const int before : {ENOSYS, EPERM, EACCES}) {
    io_event event{};
    timespec no_time{};
    errno = before;
    require(by_number::get_events(kernels, 0, 1, &event, &no_time) == 0 && errno == before, "errno does not change");
  }
  read_by(doorbells, "a read by doorbell's context");
  require(by_number::destroy(kernels) == 0, "the kernel's context is destroyed");
  require(by_number::destroy(kernels) == -1 && errno == EINVAL, "the kernel's context does not exist any more");
  require(by_number::destroy(doorbells) == 0, "doorbell's context is destroyed");
  require(by_number::destroy(doorbells) == -1 && errno == EINVAL, "doorbell's context does not exist any more");
}

}  // namespace

int main() {
  try {
    test_contexts_of_both();
    test_kernel_context_that_doorbell_uses();
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "FAILED: %s\n", failed.what());
    return EXIT_FAILURE;
  }
}
