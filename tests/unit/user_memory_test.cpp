// SPDX-License-Identifier: Apache-2.0
//
// The addresses that a program may use, for each processor. The tests use only the values of addresses, so they run on
// any machine.
#include "../../aio/system/user_memory.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using doorbell::aio::in_user_half;
using doorbell::aio::plausible;
namespace spaces = doorbell::aio::address_spaces;

constexpr std::size_t block = 4096;

const void* at(std::uintptr_t address) { return reinterpret_cast<const void*>(address); }

struct space_case {
  const char* name;
  doorbell::aio::address_space space;
  std::vector<std::uintptr_t> users;  // a program may use a block at these addresses
  std::vector<std::uintptr_t> kernels;
  std::vector<std::uintptr_t> straddling;  // a program may use the address, but not the whole block
};

const std::array cases{
    space_case{.name = "x86_64",
               .space = spaces::x86_64,
               .users = {0x0000'0000'0040'0000,  // the program's text
                         0x0000'7fff'ffff'e000,  // four levels: the last page that is used
                         0x0000'8000'0000'0000,  // LA57
                         0x00ff'ffff'ffff'e000,  // LA57: the last page that is used
                         0x7e00'7fff'0000'1000,  // a tag of LAM_U57
                         0x7eff'ffff'ffff'e000},
               .kernels = {0xffff'8000'0000'0000,  // four levels: the kernel's first, the direct map
                           0xffff'ffff'8000'0000,  // four levels: the kernel's text
                           0xff00'0000'0000'0000,  // LA57: the kernel's first
                           0xffff'ffff'ffff'ffff,
                           0x8000'0000'0040'0000,   // non-canonical
                           0x0100'0000'0000'0000},  // the first beyond any program's
               .straddling = {0x00ff'ffff'ffff'f001}},
    space_case{.name = "arm64",
               .space = spaces::arm64,
               .users = {0x0000'0000'0040'0000,  // the program's text
                         0x0000'007f'ffff'f000,  // the stack with 39 bits
                         0x0000'ffff'ffff'0000,  // the stack with 48 bits
                         0x000f'ffff'ffff'e000,  // 52 bits
                         0x3400'ffff'ffff'0000,  // with a tag of MTE, then with tags of the program's own
                         0xff00'ffff'ffff'0000, 0x800f'ffff'ffff'e000},
               .kernels = {0xffff'0000'0000'0000,  // 48 bits: the kernel's first, the linear map
                           0xfff0'0000'0000'0000,  // 52 bits: the kernel's first
                           0xffff'8000'0000'0000,  // modules, vmalloc
                           0xffff'ffff'ffff'ffff,
                           0x00ff'8000'0000'0000,  // with a tag; bit 55 makes it a kernel address
                           0x34ff'ffff'ffff'f000, 0x0010'0000'0000'0000},  // the first beyond any program's
               .straddling = {0x000f'ffff'ffff'f001}},
};

class address_space : public testing::TestWithParam<space_case> {};

TEST_P(address_space, refuses_no_pointer_that_a_program_may_have) {
  for (const auto each : GetParam().users) {
    EXPECT_TRUE(in_user_half(at(each), block, GetParam().space)) << std::hex << each;
    EXPECT_TRUE(plausible(at(each), block, GetParam().space)) << std::hex << each;
  }
}

TEST_P(address_space, refuses_the_kernels_half) {
  for (const auto each : GetParam().kernels) {
    EXPECT_FALSE(in_user_half(at(each), 0, GetParam().space)) << std::hex << each;
    EXPECT_FALSE(in_user_half(at(each), 1, GetParam().space)) << std::hex << each;
    EXPECT_FALSE(plausible(at(each), 1, GetParam().space)) << std::hex << each;
  }
}

TEST_P(address_space, refuses_a_block_that_begins_but_does_not_end_in_the_users_half) {
  for (const auto each : GetParam().straddling) {
    EXPECT_TRUE(in_user_half(at(each), block - 1, GetParam().space)) << std::hex << each;
    EXPECT_FALSE(in_user_half(at(each), block, GetParam().space)) << std::hex << each;
    EXPECT_FALSE(in_user_half(at(each), ~std::size_t{0}, GetParam().space)) << std::hex << each;
  }
}

TEST_P(address_space, refuses_null_with_any_tag_if_bytes_are_to_be_read) {
  for (const auto null : {std::uintptr_t{0}, GetParam().space.tag, GetParam().space.tag | 0xfff})
    EXPECT_FALSE(plausible(at(null), 1, GetParam().space)) << std::hex << null;
}

TEST_P(address_space, begins_at_the_second_page_if_pages_have_4096_bytes) {
  EXPECT_TRUE(plausible(at(block), block, GetParam().space));
  EXPECT_FALSE(plausible(at(block - 1), block, GetParam().space));
}

INSTANTIATE_TEST_SUITE_P(of, address_space, testing::ValuesIn(cases), [](const auto& each) { return each.param.name; });

// The highest block below the largest TASK_SIZE_MAX of any kernel for the processor that this test is compiled for.
#if defined(__x86_64__)
constexpr std::uintptr_t last_block_of_a_program = 0x00ff'ffff'ffff'e000;
#elif defined(__aarch64__)
constexpr std::uintptr_t last_block_of_a_program = 0x000f'ffff'ffff'e000;
#else
constexpr std::uintptr_t last_block_of_a_program = 0x7fff'e000;
#endif

TEST(address_space_here, reaches_as_far_as_any_kernel_allows) {
  EXPECT_TRUE(in_user_half(at(last_block_of_a_program), block));
  EXPECT_TRUE(plausible(at(last_block_of_a_program), block));
}

TEST(address_space_here, contains_the_stack) {
  const std::array<char, 64> on_the_stack{};
  EXPECT_TRUE(plausible(on_the_stack.data(), on_the_stack.size()));
}

}  // namespace
