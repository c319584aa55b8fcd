// SPDX-License-Identifier: Apache-2.0
//
// doorbell-run --check examines the code of an ELF file: whether one instruction follows another one at a small
// distance, and which functions are called after an instruction.
#include <elf.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

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
  each.put(jumps_at, std::array{slot(other_slot_address, 1, R_X86_64_JUMP_SLOT), slot(slot_address, 2, R_X86_64_64)});
  each.set(DT_PLTRELSZ, 2 * sizeof(Elf64_Rela));
  EXPECT_FALSE(calls_syscall(each));  // a slot of another function, and a relocation of another type
  each.put(jumps_at + sizeof(Elf64_Rela), slot(slot_address, 2, R_X86_64_JUMP_SLOT));
  EXPECT_TRUE(calls_syscall(each));
  each.set(DT_PLTRELSZ, sizeof(Elf64_Rela));  // the second one is behind the end
  EXPECT_FALSE(calls_syscall(each));
  each.put(relocations_at, slot(slot_address, 2, R_X86_64_GLOB_DAT));
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
  cut.put(data_end - 2 * sizeof(Elf64_Rela), slot(other_slot_address, 1, R_X86_64_JUMP_SLOT));
  cut.put(data_end - sizeof(Elf64_Rela), slot(other_slot_address, 1, R_X86_64_JUMP_SLOT));
  EXPECT_FALSE(calls_syscall(cut));
  cut.put(data_end - sizeof(Elf64_Rela), slot(slot_address, 2, R_X86_64_JUMP_SLOT));  // the last bytes of the file
  EXPECT_TRUE(calls_syscall(cut));
  cut.put(data_end - sizeof(Elf64_Rela), slot(slot_address, 1U << 30, R_X86_64_JUMP_SLOT));  // without a symbol
  EXPECT_FALSE(calls_syscall(cut));
}

#endif

}  // namespace
