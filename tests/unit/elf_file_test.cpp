// SPDX-License-Identifier: Apache-2.0
//
// How doorbell-run --check reads small files in the form that compilers and linkers make, and damaged files.
// elf_code_test.cpp is about their code.
#include <elf.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "elf_program.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/sanitizer.hpp"

namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using namespace doorbell::test;  // all names of elf_program.hpp

std::string header_of(unsigned char elf_class = ELFCLASS64) {
  std::string made(sizeof(Elf64_Ehdr), '\0');
  made.replace(0, SELFMAG, ELFMAG);
  made[EI_CLASS] = static_cast<char>(elf_class);
  return made;
}

TEST(elf_file, a_file_of_another_kind_is_not_opened) {
  EXPECT_FALSE(elf_file::open("/no/such/file"));
  EXPECT_FALSE(elf_file::open("/"));
  EXPECT_FALSE(elf_file::open("/dev/zero"));
  EXPECT_FALSE(opened(""));
  EXPECT_FALSE(opened(header_of().substr(0, sizeof(Elf64_Ehdr) - 1)));
  EXPECT_FALSE(opened(header_of(ELFCLASS32)));
  EXPECT_FALSE(opened(header_of(ELFCLASSNONE)));
  for (std::size_t n = 0; n < SELFMAG; ++n) {
    auto other = header_of();
    other[n] = 'x';
    EXPECT_FALSE(opened(other)) << "byte " << n;
  }
}

TEST(elf_file, a_header_alone_needs_and_calls_nothing) {
  const auto file = opened(header_of());
  ASSERT_TRUE(file);
  EXPECT_EQ(file->interpreter(), "");
  EXPECT_FALSE(file->needs("libaio.so.1"));
  EXPECT_FALSE(file->calls("io_submit"));
  EXPECT_FALSE(file->executes("\x7f", "E", 64));
  EXPECT_FALSE(file->calls_after("\x7f", "syscall", 64));
}

TEST(elf_file, a_file_that_cannot_be_mapped_is_not_opened) {
  if (sanitized) GTEST_SKIP() << "a sanitizer needs all addresses";
  in_child([] {
    const auto file = temporary_file(header_of());
    ASSERT_EQ(::ftruncate(file.get(), 1L << 36), 0);
    const rlimit few{.rlim_cur = 1UL << 35, .rlim_max = 1UL << 35};
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &few), 0);
    EXPECT_FALSE(elf_file::open("/proc/self/fd/" + std::to_string(file.get())));
  });
}

int mapped_files() {
  std::ifstream mappings{"/proc/self/maps"};
  int found = 0;
  for (std::string line; std::getline(mappings, line);) found += line.find("/doorbell-test-") != std::string::npos;
  return found;
}

TEST(elf_file, is_unmapped_at_the_end_of_its_life) {
  {
    auto first = opened(header_of());
    EXPECT_EQ(mapped_files(), 1);
    const auto moved = std::move(first);
    EXPECT_EQ(mapped_files(), 1);
    EXPECT_FALSE(opened("no ELF file, but long enough to be one: it is mapped, and then it is unmapped again"));
    EXPECT_EQ(mapped_files(), 1);
  }
  EXPECT_EQ(mapped_files(), 0);
}

TEST(elf_file, interpreter_is_the_dynamic_linker_that_it_names) {
  program asks;
  EXPECT_EQ(asks.open().interpreter(), "/lib/linker");
  asks.segments[0].p_offset = data_end - 2;  // without a terminating null character
  asks.put(data_end - 2, "/l"sv);
  EXPECT_EQ(asks.open().interpreter(), "");
  asks.segments[0].p_offset = data_end;
  EXPECT_EQ(asks.open().interpreter(), "");
  asks.segments[0].p_offset = ~std::uint64_t{0};
  EXPECT_EQ(asks.open().interpreter(), "");
}

TEST(elf_file, segments_beyond_the_count_in_the_header_are_ignored) {
  program asks;
  asks.segments.push_back(asks.segments.front());
  asks.segments.front().p_type = PT_NULL;
  EXPECT_EQ(asks.open().interpreter(), "");
  ++asks.segments_counted;
  EXPECT_EQ(asks.open().interpreter(), "/lib/linker");
}

TEST(elf_file, needs_the_libraries_that_it_names) {
  program asks;
  EXPECT_TRUE(asks.open().needs("libaio.so.1"));
  EXPECT_FALSE(asks.open().needs("libaio.so"));
  EXPECT_FALSE(asks.open().needs("other"));
  asks.add(DT_SONAME, name_of("other"));
  EXPECT_FALSE(asks.open().needs("other"));
  asks.add(DT_NEEDED, name_of("other"));
  EXPECT_TRUE(asks.open().needs("other"));
}

TEST(elf_file, needs_no_library_named_outside_the_dynamic_section) {
  program asks;
  asks.dynamic.push_back(program::entry(DT_NEEDED, name_of("other")));  // behind the end of the section
  EXPECT_FALSE(asks.open().needs("other"));
  asks.dynamic.insert(asks.dynamic.end() - 1, program::entry(DT_NULL, 0));  // the section ends before
  asks.entries_counted += 2;
  EXPECT_FALSE(asks.open().needs("other"));
  program has_note;
  has_note.put(note_at, program::entry(DT_NEEDED, name_of("other")));
  EXPECT_FALSE(has_note.open().needs("other"));
}

TEST(elf_file, needs_no_library_that_has_no_name_in_the_file) {
  program without_names;
  without_names.remove(DT_STRTAB);
  EXPECT_FALSE(without_names.open().needs("libaio.so.1"));
  without_names.set(DT_NEEDED, data_at + name_of("libaio.so.1"));  // as an offset from the start of the file
  EXPECT_FALSE(without_names.open().needs("libaio.so.1"));

  program far_away;
  far_away.set(DT_NEEDED, std::uint64_t{1} << 40);
  EXPECT_FALSE(far_away.open().needs("libaio.so.1"));
  far_away.set(DT_STRTAB, address_of(data_end));  // the first address that is not in the file
  for (const std::size_t start : {std::size_t{0}, data_at}) {
    far_away.set(DT_NEEDED, start + name_of("libaio.so.1"));
    EXPECT_FALSE(far_away.open().needs("libaio.so.1"));
  }

  program beyond;  // only the start of its dynamic section is in the file
  beyond.segments[4].p_filesz = std::uint64_t{1} << 60;
  beyond.segments[4].p_offset = data_end - sizeof(Elf64_Dyn) - 1;
  EXPECT_FALSE(beyond.open().needs("libaio.so.1"));
}

TEST(elf_file, calls_the_functions_that_it_imports) {
  program asks;
  EXPECT_TRUE(asks.open().calls("io_submit"));
  EXPECT_TRUE(asks.open().calls("syscall"));
  EXPECT_FALSE(asks.open().calls("other"));
  EXPECT_FALSE(asks.open().calls(""));
}

TEST(elf_file, calls_the_functions_that_it_imports_whatever_its_hash_table_contains) {
  for (const std::uint32_t first_defined : {0U, 1U, 2U, 3U, ~0U}) {
    program asks;
    asks.put(hash_at, std::array<std::uint32_t, 2>{1, first_defined});
    EXPECT_TRUE(asks.open().calls("io_submit")) << first_defined;
    EXPECT_TRUE(asks.open().calls("syscall")) << first_defined;
    asks.remove(DT_GNU_HASH);
    EXPECT_TRUE(asks.open().calls("syscall"));
  }
}

TEST(elf_file, calls_the_functions_whose_addresses_it_stores) {
  program stores;
  stores.put(jumps_at, slot(slot_address, 1, no_slot));
  stores.put(relocations_at, slot(slot_address, 2, global_data));
  stores.set(DT_PLTRELSZ, sizeof(Elf64_Rela));
  EXPECT_TRUE(stores.open().calls("io_submit"));
  EXPECT_FALSE(stores.open().calls("syscall"));
  stores.add(DT_RELA, address_of(relocations_at));
  stores.add(DT_RELASZ, sizeof(Elf64_Rela));
  EXPECT_TRUE(stores.open().calls("io_submit"));
  EXPECT_TRUE(stores.open().calls("syscall"));
}

TEST(elf_file, calls_no_function_that_it_defines) {
  program defines;
  defines.put(symbols_at, std::array{symbol("\0"), symbol("io_submit", 1)});
  EXPECT_FALSE(defines.open().calls("io_submit"));
  EXPECT_TRUE(defines.open().calls("syscall"));
}

TEST(elf_file, calls_nothing_if_the_file_has_fewer_symbols_than_it_uses) {
  program fewer;
  fewer.set(DT_SYMTAB, address_of(data_end - sizeof(Elf64_Sym) - 8));
  EXPECT_FALSE(fewer.open().calls("io_submit"));
  fewer.remove(DT_SYMTAB);
  EXPECT_FALSE(fewer.open().calls("io_submit"));
}

TEST(elf_file, names_are_read_from_the_segment_loaded_at_their_address) {
  program other;  // the same address is also in a segment that is not loaded, and in a loaded one without bytes there
  other.put(note_at, "\0another\0"sv);
  EXPECT_TRUE(other.open().calls("io_submit"));
  std::swap(other.segments[2], other.segments[3]);
  EXPECT_TRUE(other.open().calls("io_submit"));
  other.segments[3] = std::exchange(other.segments[2], segment(PT_LOAD, note_at, 0x80, data_address + 1));
  EXPECT_TRUE(other.open().needs("libaio.so.1"));
}

TEST(elf_file, contains_text_anywhere) {
  program asks;
  EXPECT_TRUE(asks.open().contains("/lib/linker"));
  EXPECT_TRUE(
      asks.open().contains("\x7f"
                           "ELF"));
  EXPECT_FALSE(asks.open().contains("libaio.so.2"));
}

}  // namespace
