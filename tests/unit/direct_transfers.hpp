// SPDX-License-Identifier: Apache-2.0
//
// What tests of O_DIRECT transfers have in common: a file, aligned buffers, and a context by handle.
#pragma once

#include <doorbell/aio_calls.hpp>
#include <doorbell/base/unique_fd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "support/files.hpp"

namespace doorbell::test {

using base::unique_fd;

constexpr std::size_t block_size = 4096;
constexpr std::size_t blocks = 64;

inline char letter_of(std::size_t block) { return static_cast<char>('a' + block % 26); }

/// A file whose blocks consist of one letter each, open for O_DIRECT. Empty where the file system has no O_DIRECT.
inline unique_fd direct_file(char first = 'a') {
  std::string text;
  for (std::size_t block = 0; block < blocks; ++block)
    text.append(block_size, static_cast<char>(letter_of(block) - 'a' + first));
  auto file = doorbell::test::temporary_file(text);
  ::fsync(file.get());
  if (::fcntl(file.get(), F_SETFL, O_DIRECT) != 0) file.reset();
  return file;
}

inline bool has_kernel_aio() {
  aio::aio_context_t made = 0;
  if (::syscall(SYS_io_setup, 1, &made) != 0) return false;
  ::syscall(SYS_io_destroy, made);
  return true;
}

/// Aligned as O_DIRECT demands.
class buffers {
 public:
  explicit buffers(std::size_t count)
      : memory_{static_cast<char*>(std::aligned_alloc(block_size, count * block_size))} {
    std::memset(memory_.get(), 0, count * block_size);
  }
  [[nodiscard]] char* operator[](std::size_t index) const { return memory_.get() + index * block_size; }

 private:
  struct freed {
    void operator()(char* memory) const { std::free(memory); }  // NOLINT(*-no-malloc): of aligned_alloc
  };
  std::unique_ptr<char[], freed> memory_;
};

/// The whole way, by handle: io_setup to io_destroy.
class direct : public testing::Test {
 protected:
  void SetUp() override {
    if (!file) GTEST_SKIP() << "no O_DIRECT in this file system";
    if (!has_kernel_aio()) GTEST_SKIP() << "no kernel AIO in this system";
  }

  // NOLINTNEXTLINE(readability-non-const-parameter): the kernel writes to it
  aio::iocb_abi read_of(std::size_t block, char* into) const {
    auto made = aio::prep_pread(file.get(), into, block_size, static_cast<std::int64_t>(block * block_size));
    made.data = into;
    return made;
  }

  unique_fd file = direct_file();
  buffers memory{blocks};
};

/// A context by handle.
class by_handle {
 public:
  explicit by_handle(unsigned nr) { EXPECT_EQ(aio::io_setup(nr, &handle_), 0); }
  ~by_handle() { EXPECT_EQ(aio::io_destroy(handle_), 0); }
  by_handle(const by_handle&) = delete;
  by_handle& operator=(const by_handle&) = delete;

  [[nodiscard]] int submit(std::span<aio::iocb_abi> asked) const {
    std::vector<aio::iocb_abi*> pointers;
    for (auto& each : asked) pointers.push_back(&each);
    return aio::io_submit(handle_, static_cast<long>(pointers.size()), pointers.data());
  }
  [[nodiscard]] std::vector<aio::io_event> events(std::size_t count) const {
    std::vector<aio::io_event> all(count);
    timespec patience{.tv_sec = 20, .tv_nsec = 0};
    const int got =
        aio::io_getevents(handle_, static_cast<long>(count), static_cast<long>(count), all.data(), &patience);
    all.resize(static_cast<std::size_t>(std::max(got, 0)));
    return all;
  }
  [[nodiscard]] std::int64_t result_of(aio::iocb_abi asked) const {
    const int taken = submit({&asked, 1});
    if (taken != 1) return taken;
    const auto all = events(1);
    return all.empty() ? -ETIME : all[0].res;
  }
  [[nodiscard]] aio::aio_context_t handle() const { return handle_; }

 private:
  aio::aio_context_t handle_ = 0;
};

}  // namespace doorbell::test
