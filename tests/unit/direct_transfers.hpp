// SPDX-License-Identifier: Apache-2.0
//
// For tests of O_DIRECT transfers: a file and aligned buffers.
#pragma once

#include <doorbell/aio_calls.hpp>
#include <doorbell/base/unique_fd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "by_handle.hpp"
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

/// Buffers of one block each, aligned as O_DIRECT requires.
class buffers {
 public:
  explicit buffers(std::size_t count)
      : memory_{static_cast<char*>(std::aligned_alloc(block_size, count * block_size))} {
    std::memset(memory_.get(), 0, count * block_size);
  }
  [[nodiscard]] char* operator[](std::size_t index) const { return memory_.get() + index * block_size; }

 private:
  struct free_deleter {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char[], free_deleter> memory_;
};

/// For tests that use the whole interface, from io_setup to io_destroy, by handle.
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

}  // namespace doorbell::test
