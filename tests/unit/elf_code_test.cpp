// SPDX-License-Identifier: Apache-2.0
//
// doorbell-run --check examines the code of an ELF file: whether one instruction follows another one at a small
// distance, and which functions are called after an instruction. The tests of calls are different for each processor.
#include <elf.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "elf_program.hpp"

namespace {

using namespace std::string_view_literals;
using namespace doorbell::test;  // all names of elf_program.hpp

TEST(elf_file, executes_an_instruction_near_another_one) {
  program near;
  near.put_code(0x10, "first");
  near.put_code(0x20, "second");
  const auto distance = 0x20 - 0x15;
  EXPECT_TRUE(near.open().executes("first", "second", distance + 6));
  EXPECT_FALSE(near.open().executes("first", "second", distance + 5));
  EXPECT_FALSE(near.open().executes("second", "first", 64));
  EXPECT_FALSE(near.open().executes("first", "third", 64));
  near.put_code(0x20, "\0\0\0\0\0\0"sv);
  EXPECT_FALSE(near.open().executes("first", "second", 64));
  near.put_code(0x30, "first second");
  EXPECT_TRUE(near.open().executes("first", "second", 16));
}

TEST(elf_file, executes_an_instruction_that_begins_inside_an_earlier_match) {
  program twice;
  twice.put_code(0x10, "xxx.");
  EXPECT_TRUE(twice.open().executes("xx", ".", 1));
}

TEST(elf_file, executes_nothing_outside_of_its_code) {
  constexpr auto text = "first second"sv;
  const auto executes = [](const program& each) { return each.open().executes("first", "second", 64); };
  program elsewhere;
  elsewhere.put(note_at, text);               // not loaded
  elsewhere.put(jumps_at + 0x40, text);       // loaded, not executable
  elsewhere.put(code_at + code_bytes, text);  // behind the end
  elsewhere.put(code_at + code_bytes - 5, "first");
  EXPECT_FALSE(executes(elsewhere));
  elsewhere.segments[2].p_offset = data_end;
  EXPECT_FALSE(executes(elsewhere));
  elsewhere.segments[2].p_offset = ~std::uint64_t{0};
  EXPECT_FALSE(executes(elsewhere));
  elsewhere.segments[3].p_flags = PF_X;
  EXPECT_TRUE(executes(elsewhere));
}

#if defined(__x86_64__)

constexpr auto instruction = "\xbf\xd1\0\0\0"sv;  // mov $209, %edi

/// The four bytes of a relative address: from the address behind them to another one.
std::string distance(std::uint64_t behind, std::uint64_t to) {
  const auto number = static_cast<std::uint32_t>(to - behind);
  std::string made(sizeof number, '\0');
  std::memcpy(made.data(), &number, sizeof number);
  return made;
}

/// Puts an instruction at a place of the code: an opcode of two bytes, then the distance to a slot.
void put_through_slot(program& into, std::size_t at, std::string_view opcode, std::uint64_t slot) {
  into.put_code(at, std::string{opcode} + distance(code_address + at + opcode.size() + 4, slot));
}

/// Puts a direct call or jump to a place of the code.
void put_direct(program& into, std::size_t at, char opcode, std::size_t to) {
  into.put_code(at, opcode + distance(code_address + at + 5, code_address + to));
}

bool calls_syscall(const program& each, std::size_t within = 64) {
  return each.open().calls_after(instruction, "syscall", within);
}

// The code of these tests: the instruction, a call that begins at `call_at`, and a linkage table at `linkage_at`, below
// them.
constexpr std::size_t instruction_at = 0x40;
constexpr std::size_t call_at = 0x50;
constexpr std::size_t from_instruction = call_at - (instruction_at + 5);
constexpr std::size_t linkage_at = 0x10;

program with_instruction() {
  program made;
  made.put_code(instruction_at, instruction);
  return made;
}

TEST(elf_file, calls_a_function_through_its_slot_after_an_instruction) {
  struct row {
    std::string_view opcode;
    bool is_call;
  };
  for (const auto& [opcode, is_call] : {row{"\xff\x15", true}, row{"\xff\x25", true}, row{"\xff\x35", false},
                                        row{"\xff\x16", false}, row{"\x8b\x15", false}, row{"\x8b\x25", false}}) {
    auto each = with_instruction();
    put_through_slot(each, call_at, opcode, slot_address);
    EXPECT_EQ(calls_syscall(each), is_call);
    EXPECT_FALSE(each.open().calls_after(instruction, "io_submit", 64));
    EXPECT_FALSE(each.open().calls_after("\xbf\xd2"sv, "syscall", 64));
  }
}

TEST(elf_file, calls_no_function_too_far_after_an_instruction) {
  auto far = with_instruction();
  put_through_slot(far, call_at, "\xff\x15", slot_address);
  EXPECT_TRUE(calls_syscall(far, from_instruction + 1));
  EXPECT_FALSE(calls_syscall(far, from_instruction));
  auto adjacent = with_instruction();
  put_through_slot(adjacent, instruction_at + 5, "\xff\x15", slot_address);
  EXPECT_TRUE(calls_syscall(adjacent, 1));
  auto before = with_instruction();
  put_through_slot(before, instruction_at - 6, "\xff\x15", slot_address);
  EXPECT_FALSE(calls_syscall(before));
}

TEST(elf_file, calls_no_function_through_the_slot_of_another) {
  auto other = with_instruction();
  put_through_slot(other, call_at, "\xff\x15", other_slot_address);
  EXPECT_FALSE(calls_syscall(other));
}

TEST(elf_file, calls_a_function_through_the_linkage_table) {
  const std::array<std::string, 4> entries{"", "\xf2", "\xf3\x0f\x1e\xfa", "\xf3\x0f\x1e\xfa\xf2"};
  for (const auto& prefix : entries)
    for (const char opcode : {'\xe8', '\xe9'}) {
      auto each = with_instruction();
      each.put_code(linkage_at, prefix);
      put_through_slot(each, linkage_at + prefix.size(), "\xff\x25", slot_address);
      put_direct(each, call_at, opcode, linkage_at);
      EXPECT_TRUE(calls_syscall(each)) << prefix.size() << " bytes before the jump";
      put_through_slot(each, linkage_at + prefix.size(), "\xff\x25", other_slot_address);
      EXPECT_FALSE(calls_syscall(each)) << prefix.size() << " bytes before the jump";
    }
  for (const char opcode : {'\xe7', '\xea', '\x90'}) {  // not calls, although such a distance follows
    auto each = with_instruction();
    put_through_slot(each, linkage_at, "\xff\x25", slot_address);
    put_direct(each, call_at, opcode, linkage_at);
    EXPECT_FALSE(calls_syscall(each));
  }
}

TEST(elf_file, calls_nothing_if_the_distance_is_cut_off) {
  auto cut = with_instruction();
  cut.segments[2].p_filesz = call_at + 2;
  put_through_slot(cut, call_at, "\xff\x15", slot_address);
  EXPECT_FALSE(calls_syscall(cut));
}

TEST(elf_file, has_slots_in_both_tables_of_relocations) {
  auto each = with_instruction();
  put_through_slot(each, call_at, "\xff\x15", slot_address);
  each.put(jumps_at, std::array{slot(other_slot_address, 1, jump_slot), slot(slot_address, 2, no_slot)});
  each.set(DT_PLTRELSZ, 2 * sizeof(Elf64_Rela));
  EXPECT_FALSE(calls_syscall(each));  // a slot of another function, and a relocation of another type
  each.put(jumps_at + sizeof(Elf64_Rela), slot(slot_address, 2, jump_slot));
  EXPECT_TRUE(calls_syscall(each));
  each.set(DT_PLTRELSZ, sizeof(Elf64_Rela));  // the second one is behind the end
  EXPECT_FALSE(calls_syscall(each));
  each.put(relocations_at, slot(slot_address, 2, global_data));
  each.add(DT_RELA, address_of(relocations_at));
  EXPECT_FALSE(calls_syscall(each));  // its size is missing
  each.add(DT_RELASZ, sizeof(Elf64_Rela));
  EXPECT_TRUE(calls_syscall(each));
}

TEST(elf_file, has_no_slots_beyond_the_end_of_the_file) {
  auto cut = with_instruction();
  put_through_slot(cut, call_at, "\xff\x15", slot_address);
  cut.set(DT_PLTRELSZ, std::uint64_t{1} << 62);
  cut.set(DT_JMPREL, address_of(data_end - 2 * sizeof(Elf64_Rela)));
  cut.put(data_end - 2 * sizeof(Elf64_Rela), slot(other_slot_address, 1, jump_slot));
  cut.put(data_end - sizeof(Elf64_Rela), slot(other_slot_address, 1, jump_slot));
  EXPECT_FALSE(calls_syscall(cut));
  cut.put(data_end - sizeof(Elf64_Rela), slot(slot_address, 2, jump_slot));  // the last bytes of the file
  EXPECT_TRUE(calls_syscall(cut));
  cut.put(data_end - sizeof(Elf64_Rela), slot(slot_address, 1U << 30, jump_slot));  // without a symbol
  EXPECT_FALSE(calls_syscall(cut));
}

#else

constexpr std::uint32_t mov_x0_2 = 0xd2800040;
constexpr std::uint32_t mov_x8_2 = 0xd2800048;
constexpr std::uint32_t mov_x0_98 = 0xd2800c40;
constexpr std::uint32_t mov_w0_98 = 0x52800c40;
constexpr std::uint32_t mov_x1_0 = 0xd2800001;
constexpr std::uint32_t mov_x0_x19 = 0xaa1303e0;
constexpr std::uint32_t mov_w0_w19 = 0x2a1303e0;
constexpr std::uint32_t mov_x1_x19 = 0xaa1303e1;
constexpr std::uint32_t ret = 0xd65f03c0;
constexpr std::uint32_t bti_c = 0xd503245f;
constexpr std::uint32_t add_x16 = 0x91000210;
constexpr std::uint32_t nop = 0xd503201f;
constexpr std::uint32_t br = 0xd61f0000;
constexpr std::uint32_t blr = 0xd63f0000;
constexpr std::uint32_t bl = 0x94000000;
constexpr std::uint32_t b = 0x14000000;
constexpr auto instruction = "\x40\0\x80\xd2"sv;  // mov_x0_2

constexpr std::uint32_t adrp(std::uint32_t into, std::uint64_t code, std::uint64_t address) {
  const auto pages = (address >> 12) - (code >> 12);
  return static_cast<std::uint32_t>(0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7ffff) << 5 | into);
}
constexpr std::uint32_t ldr(std::uint32_t into, std::uint32_t base, std::uint64_t address) {
  return static_cast<std::uint32_t>(0xf9400000 | (address & 0xfff) / 8 << 10 | base << 5 | into);
}
constexpr std::uint32_t through(std::uint32_t opcode, std::uint32_t target) { return opcode | target << 5; }
constexpr std::uint32_t direct(std::uint32_t opcode, std::size_t from, std::size_t to) {
  return opcode | (static_cast<std::uint32_t>((to - from) / 4) & 0x3ffffff);
}

void put_words(program& into, std::size_t at, const std::vector<std::uint32_t>& words) {
  for (const auto each : words) {
    into.put(code_at + at, each);
    at += sizeof each;
  }
}

/// Puts an entry of the procedure linkage table at a place of the code.
void put_linkage(program& into, std::size_t at, std::uint64_t slot) {
  put_words(into, at, {adrp(16, code_address + at, slot), ldr(17, 16, slot), add_x16, through(br, 17)});
}

bool calls_syscall(const program& each, std::size_t within = 64) {
  return each.open().calls_after(instruction, "syscall", within);
}

constexpr std::size_t linkage_at = 0x100;
constexpr std::size_t instruction_at = 0x20;

/// The instruction, then others, and a call through the linkage table.
program with_call_after(const std::vector<std::uint32_t>& others, std::uint32_t opcode = bl,
                        std::uint32_t first = mov_x0_2) {
  program made;
  auto words = others;
  words.insert(words.begin(), first);
  words.push_back(direct(opcode, instruction_at + words.size() * sizeof first, linkage_at));
  put_words(made, instruction_at, words);
  put_linkage(made, linkage_at, slot_address);
  return made;
}

TEST(elf_file, calls_a_function_through_the_linkage_table) {
  for (const auto opcode : {bl, b}) {
    auto each = with_call_after({}, opcode);
    EXPECT_TRUE(calls_syscall(each));
    EXPECT_FALSE(each.open().calls_after(instruction, "io_submit", 64));
    EXPECT_FALSE(each.open().calls_after("\x80\0\x80\xd2"sv, "syscall", 64));
    put_linkage(each, linkage_at, other_slot_address);
    EXPECT_FALSE(calls_syscall(each));
    EXPECT_TRUE(each.open().calls_after(instruction, "io_submit", 64));
    put_words(each, linkage_at, {bti_c});
    put_linkage(each, linkage_at + 4, slot_address);
    EXPECT_TRUE(calls_syscall(each));
  }
}

TEST(elf_file, calls_a_function_through_a_linkage_table_below_its_code) {
  program each;
  put_linkage(each, 0, slot_address);
  put_words(each, 0x40, {mov_x0_2, direct(bl, 0x44, 0)});
  EXPECT_TRUE(calls_syscall(each));
}

TEST(elf_file, calls_a_function_through_a_slot_below_its_code) {
  program each;
  constexpr std::uint64_t low = 0x3018;
  each.put(jumps_at, slot(low, 2, jump_slot));
  put_words(each, 0x40, {mov_x0_2, direct(bl, 0x44, linkage_at)});
  put_linkage(each, linkage_at, low);
  EXPECT_TRUE(calls_syscall(each));
}

TEST(elf_file, calls_a_function_through_its_slot) {
  const auto page = adrp(4, code_address, slot_address);
  const auto calls = [](const std::vector<std::uint32_t>& words) {
    program each;
    put_words(each, instruction_at, words);
    return calls_syscall(each);
  };
  const auto load = ldr(4, 4, slot_address);
  EXPECT_TRUE(calls({page, load, mov_x0_2, through(blr, 4)}));
  EXPECT_TRUE(calls({mov_x0_2, page, load, through(br, 4)}));
  EXPECT_TRUE(calls({page, mov_x1_0, load, mov_x0_2, mov_x1_0, through(blr, 4)}));
  EXPECT_TRUE(calls({page, ldr(3, 4, slot_address), mov_x0_2, through(blr, 3)}));
  EXPECT_FALSE(calls({page, ldr(3, 4, slot_address), mov_x0_2, through(blr, 4)}));
  EXPECT_FALSE(calls({page, ldr(4, 3, slot_address), mov_x0_2, through(blr, 4)}));
  EXPECT_FALSE(calls({page, ldr(4, 4, other_slot_address), mov_x0_2, through(blr, 4)}));
  EXPECT_FALSE(calls({load, page, mov_x0_2, through(blr, 4)}));
  EXPECT_FALSE(calls({page, load, ldr(4, 4, other_slot_address), mov_x0_2, through(blr, 4)}));
}

TEST(elf_file, calls_no_function_too_far_after_an_instruction) {
  const auto far = with_call_after({mov_x1_0, mov_x1_0});
  EXPECT_TRUE(calls_syscall(far, 12));
  EXPECT_FALSE(calls_syscall(far, 8));
}

TEST(elf_file, calls_no_function_after_another_call_or_value_of_the_argument) {
  for (const auto each : {direct(bl, instruction_at + 4, 0), direct(b, instruction_at + 4, 0), through(blr, 3),
                          through(br, 3), ret, mov_x0_98, mov_w0_98, mov_x0_x19, mov_w0_w19})
    EXPECT_FALSE(calls_syscall(with_call_after({each}))) << std::hex << each;
  for (const auto each : {mov_x1_0, mov_x1_x19, mov_x8_2, nop})
    EXPECT_TRUE(calls_syscall(with_call_after({each}))) << std::hex << each;
}

TEST(elf_file, calls_no_function_after_bytes_that_are_no_instruction) {
  program each;  // the bytes of the instruction are parts of two words
  put_linkage(each, linkage_at, slot_address);
  each.put_code(instruction_at + 2, instruction);
  put_words(each, instruction_at + 8, {direct(bl, instruction_at + 8, linkage_at)});
  EXPECT_FALSE(calls_syscall(each));
}

TEST(elf_file, calls_nothing_if_the_code_is_cut_off) {
  auto cut = with_call_after({});
  cut.segments[2].p_filesz = linkage_at + 12;
  EXPECT_FALSE(calls_syscall(cut));
  cut.segments[2].p_filesz = instruction_at + 4;
  EXPECT_FALSE(calls_syscall(cut));
}

TEST(elf_file, has_slots_in_both_tables_of_relocations) {
  auto each = with_call_after({});
  each.put(jumps_at, std::array{slot(other_slot_address, 1, jump_slot), slot(slot_address, 2, no_slot)});
  EXPECT_FALSE(calls_syscall(each));  // a slot of another function, and a relocation of another type
  each.add(DT_RELA, address_of(relocations_at));
  each.add(DT_RELASZ, sizeof(Elf64_Rela));
  each.put(relocations_at, slot(slot_address, 2, global_data));
  EXPECT_TRUE(calls_syscall(each));
}

#endif

}  // namespace
