// SPDX-License-Identifier: Apache-2.0
//
// Files as compilers and linkers make them, in small, and files that are damaged: what doorbell-run --check tells of
// them. Each file is made of bytes that a test names, so a table may end where the file ends.
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

#include "../../libaio/run/elf_file.hpp"
#include "support/child.hpp"
#include "support/files.hpp"
#include "support/sanitizer.hpp"

namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using doorbell::run::elf_file;

/// Opens a file with this content, which has no name any more.
std::optional<elf_file> opened(std::string_view content) {
  const auto file = doorbell::test::temporary_file(content);
  return elf_file::open("/proc/self/fd/" + std::to_string(file.get()));
}

// Where the parts are in the files of these tests. The data follows the code in memory, but not in the file.
constexpr std::size_t headers_at = sizeof(Elf64_Ehdr);
constexpr std::size_t linker_at = 0x300;
constexpr std::size_t note_at = 0x380;
constexpr std::size_t code_at = 0x400;
constexpr std::size_t code_bytes = 0x200;
constexpr std::size_t data_at = 0x800;
constexpr std::size_t symbols_at = 0xa00;
constexpr std::size_t jumps_at = 0xb00;
constexpr std::size_t relocations_at = 0xc00;
constexpr std::size_t dynamic_at = 0xd00;
constexpr std::size_t old_hash_at = 0xef0;
constexpr std::size_t hash_at = 0xf00;
constexpr std::size_t data_end = hash_at + 8;  // and the file's
constexpr std::uint64_t code_address = 0x401000;
constexpr std::uint64_t data_address = code_address + code_bytes;
constexpr std::uint64_t slot_address = 0x500000;
constexpr std::uint64_t other_slot_address = 0x500008;

std::uint64_t address_of(std::size_t at) { return data_address + (at - data_at); }

// The names, and where they are among them.
constexpr auto names = "\0syscall\0io_submit\0libaio.so.1\0other\0"sv;
std::uint32_t name_of(std::string_view name) { return static_cast<std::uint32_t>(names.find(name)); }

Elf64_Phdr segment(std::uint32_t type, std::size_t at, std::size_t bytes, std::uint64_t address = 0,
                   std::uint32_t flags = PF_R) {
  return {.p_type = type,
          .p_flags = flags,
          .p_offset = at,
          .p_vaddr = address,
          .p_paddr = 0,
          .p_filesz = bytes,
          .p_memsz = bytes,
          .p_align = 1};
}

Elf64_Sym symbol(std::string_view name, std::uint16_t section = SHN_UNDEF) {
  return {.st_name = name_of(name), .st_info = 0, .st_other = 0, .st_shndx = section, .st_value = 0, .st_size = 0};
}

Elf64_Rela slot(std::uint64_t address, std::uint64_t symbol_number, std::uint32_t type) {
  return {.r_offset = address, .r_info = ELF64_R_INFO(symbol_number, type), .r_addend = 0};
}

/// A program that is linked with libaio.so.1, and asks other libraries for io_submit and syscall. Tests change it.
class program {
 public:
  program() {
    put(linker_at, "/lib/linker\0"sv);
    put(data_at, names);
    put(symbols_at, std::array{symbol("\0"), symbol("io_submit"), symbol("syscall")});
    put(jumps_at, slot(slot_address, 2, R_X86_64_JUMP_SLOT));
    put(hash_at, std::array<std::uint32_t, 2>{1, 3});  // buckets, the first symbol that is defined here
  }

  std::vector<Elf64_Phdr> segments{segment(PT_INTERP, linker_at, 12),
                                   segment(PT_NOTE, note_at, 0x80, data_address, PF_R | PF_X),
                                   segment(PT_LOAD, code_at, code_bytes, code_address, PF_R | PF_X),
                                   segment(PT_LOAD, data_at, data_end - data_at, data_address),
                                   segment(PT_DYNAMIC, dynamic_at, 0)};  // its size is that of `dynamic`
  std::vector<Elf64_Dyn> dynamic{entry(DT_NEEDED, name_of("libaio.so.1")), entry(DT_STRTAB, address_of(data_at)),
                                 entry(DT_SYMTAB, address_of(symbols_at)), entry(DT_JMPREL, address_of(jumps_at)),
                                 entry(DT_PLTRELSZ, sizeof(Elf64_Rela)),   entry(DT_GNU_HASH, address_of(hash_at))};
  std::size_t segments_counted = 5;
  std::size_t entries_counted = 6;

  static Elf64_Dyn entry(std::int64_t tag, std::uint64_t value) { return {.d_tag = tag, .d_un = {.d_val = value}}; }

  void put(std::size_t at, std::string_view text) { std::memcpy(&bytes_.at(at), text.data(), text.size()); }
  template <class T>
  void put(std::size_t at, const T& what) {
    std::memcpy(&bytes_.at(at), &what, sizeof what);
  }
  void put_code(std::size_t at, std::string_view code) { put(code_at + at, code); }
  void end_at(std::size_t size) { bytes_.resize(size); }

  void add(std::int64_t tag, std::uint64_t value) {
    dynamic.push_back(entry(tag, value));
    ++entries_counted;
  }
  void set(std::int64_t tag, std::uint64_t value) {
    for (auto& each : dynamic)
      if (each.d_tag == tag) each.d_un.d_val = value;
  }
  void remove(std::int64_t tag) {
    for (auto& each : dynamic)
      if (each.d_tag == tag) each.d_tag = DT_DEBUG;
  }

  [[nodiscard]] elf_file open() const {
    auto content = bytes_;
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_phoff = headers_at;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = static_cast<Elf64_Half>(segments_counted);
    auto all = segments;
    for (auto& each : all)
      if (each.p_type == PT_DYNAMIC && each.p_filesz == 0) each.p_filesz = entries_counted * sizeof(Elf64_Dyn);
    std::memcpy(content.data(), &header, sizeof header);
    std::memcpy(&content.at(headers_at), all.data(), all.size() * sizeof(Elf64_Phdr));
    std::memcpy(&content.at(dynamic_at), dynamic.data(), dynamic.size() * sizeof(Elf64_Dyn));
    return opened(content).value();
  }

 private:
  std::string bytes_ = std::string(data_end, '\0');
};

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

TEST(elf_file, a_header_alone_is_one_that_asks_for_nothing) {
  const auto file = opened(header_of());
  ASSERT_TRUE(file);
  EXPECT_EQ(file->interpreter(), "");
  EXPECT_FALSE(file->needs("libaio.so.1"));
  EXPECT_FALSE(file->calls("io_submit"));
  EXPECT_FALSE(file->executes("\x7f", "E", 64));
  EXPECT_FALSE(file->calls_after("\x7f", "syscall", 64));
}

TEST(elf_file, a_file_that_cannot_be_mapped_is_not_opened) {
  if (doorbell::test::sanitized) GTEST_SKIP() << "a sanitizer needs all addresses";
  doorbell::test::in_child([] {
    const auto file = doorbell::test::temporary_file(header_of());
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

TEST(elf_file, has_the_dynamic_linker_that_it_asks_for) {
  program asks;
  EXPECT_EQ(asks.open().interpreter(), "/lib/linker");
  asks.segments[0].p_offset = data_end - 2;  // not ended by a null character
  asks.put(data_end - 2, "/l"sv);
  EXPECT_EQ(asks.open().interpreter(), "");
  asks.segments[0].p_offset = data_end;
  EXPECT_EQ(asks.open().interpreter(), "");
  asks.segments[0].p_offset = ~std::uint64_t{0};
  EXPECT_EQ(asks.open().interpreter(), "");
}

TEST(elf_file, has_no_more_segments_than_it_says) {
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

TEST(elf_file, needs_no_library_that_is_named_elsewhere) {
  program asks;
  asks.dynamic.push_back(program::entry(DT_NEEDED, name_of("other")));  // behind the end of the section
  EXPECT_FALSE(asks.open().needs("other"));
  asks.dynamic.insert(asks.dynamic.end() - 1, program::entry(DT_NULL, 0));  // which ends before
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
  without_names.set(DT_NEEDED, data_at + name_of("libaio.so.1"));  // from the start of the file
  EXPECT_FALSE(without_names.open().needs("libaio.so.1"));

  program far_away;
  far_away.set(DT_NEEDED, std::uint64_t{1} << 40);
  EXPECT_FALSE(far_away.open().needs("libaio.so.1"));
  far_away.set(DT_STRTAB, address_of(data_end));  // the first address that is not in the file
  for (const std::size_t start : {std::size_t{0}, data_at}) {
    far_away.set(DT_NEEDED, start + name_of("libaio.so.1"));
    EXPECT_FALSE(far_away.open().needs("libaio.so.1"));
  }

  program beyond;  // a dynamic section of which there is only the start
  beyond.segments[4].p_filesz = std::uint64_t{1} << 60;
  beyond.segments[4].p_offset = data_end - sizeof(Elf64_Dyn) - 1;
  EXPECT_FALSE(beyond.open().needs("libaio.so.1"));
}

TEST(elf_file, calls_the_functions_that_it_asks_other_libraries_for) {
  program asks;
  EXPECT_TRUE(asks.open().calls("io_submit"));
  EXPECT_TRUE(asks.open().calls("syscall"));
  EXPECT_FALSE(asks.open().calls("other"));
  asks.put(hash_at, std::array<std::uint32_t, 2>{1, 2});  // the last one is defined here
  EXPECT_TRUE(asks.open().calls("io_submit"));
  EXPECT_FALSE(asks.open().calls("syscall"));
}

TEST(elf_file, calls_no_function_that_it_defines) {
  program older;
  older.remove(DT_GNU_HASH);
  EXPECT_FALSE(older.open().calls("io_submit"));
  older.add(DT_HASH, address_of(old_hash_at));
  older.put(old_hash_at, std::array<std::uint32_t, 2>{1, 3});  // buckets, all symbols
  EXPECT_TRUE(older.open().calls("io_submit"));
  EXPECT_TRUE(older.open().calls("syscall"));
  older.put(symbols_at, std::array{symbol("\0"), symbol("io_submit", 1)});
  EXPECT_FALSE(older.open().calls("io_submit"));
  EXPECT_TRUE(older.open().calls("syscall"));
}

TEST(elf_file, calls_nothing_if_there_are_fewer_symbols_than_it_says) {
  program fewer;
  fewer.put(hash_at, std::array<std::uint32_t, 2>{1, ~std::uint32_t{0}});
  fewer.set(DT_SYMTAB, address_of(data_end - sizeof(Elf64_Sym) - 8));
  EXPECT_FALSE(fewer.open().calls("io_submit"));
  fewer.remove(DT_SYMTAB);
  EXPECT_FALSE(fewer.open().calls("io_submit"));
}

TEST(elf_file, has_the_names_of_the_segment_that_is_loaded_at_their_address) {
  program other;  // the same address in a segment that is not loaded, and in one that is loaded but has no bytes there
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

TEST(elf_file, executes_an_instruction_that_begins_within_itself) {
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

/// Four bytes: from the address behind them to another one.
std::string distance(std::uint64_t behind, std::uint64_t to) {
  const auto number = static_cast<std::uint32_t>(to - behind);
  std::string made(sizeof number, '\0');
  std::memcpy(made.data(), &number, sizeof number);
  return made;
}

/// Puts an instruction of two bytes at a place of the code, with the distance to a slot.
void put_through_slot(program& into, std::size_t at, std::string_view opcode, std::uint64_t slot) {
  into.put_code(at, std::string{opcode} + distance(code_address + at + opcode.size() + 4, slot));
}

/// The same for a call or jump to a place of the code.
void put_direct(program& into, std::size_t at, char opcode, std::size_t to) {
  into.put_code(at, opcode + distance(code_address + at + 5, code_address + to));
}

bool calls_syscall(const program& each, std::size_t within = 64) {
  return each.open().calls_after(instruction, "syscall", within);
}

// The code of these tests: the instruction, a call that begins `call_at`, and a linkage table below.
constexpr std::size_t instruction_at = 0x40;
constexpr std::size_t call_at = 0x50;
constexpr std::size_t from_instruction = call_at - (instruction_at + 5);
constexpr std::size_t linkage_at = 0x10;

program with_instruction() {
  program made;
  made.put_code(instruction_at, instruction);
  return made;
}

TEST(elf_file, calls_a_function_through_its_slot_behind_an_instruction) {
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

TEST(elf_file, calls_no_function_too_far_behind_an_instruction) {
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
  for (const char opcode : {'\xe7', '\xea', '\x90'}) {  // no calls, though followed by such a distance
    auto each = with_instruction();
    put_through_slot(each, linkage_at, "\xff\x25", slot_address);
    put_direct(each, call_at, opcode, linkage_at);
    EXPECT_FALSE(calls_syscall(each));
  }
}

TEST(elf_file, calls_nothing_with_a_distance_that_is_cut_off) {
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
  EXPECT_FALSE(calls_syscall(each));  // another function's, and a number of another kind
  each.put(jumps_at + sizeof(Elf64_Rela), slot(slot_address, 2, R_X86_64_JUMP_SLOT));
  EXPECT_TRUE(calls_syscall(each));
  each.set(DT_PLTRELSZ, sizeof(Elf64_Rela));  // the second one is behind the end
  EXPECT_FALSE(calls_syscall(each));
  each.put(relocations_at, slot(slot_address, 2, R_X86_64_GLOB_DAT));
  each.add(DT_RELA, address_of(relocations_at));
  EXPECT_FALSE(calls_syscall(each));  // of no size
  each.add(DT_RELASZ, sizeof(Elf64_Rela));
  EXPECT_TRUE(calls_syscall(each));
}

TEST(elf_file, has_no_slots_beyond_its_end) {
  auto cut = with_instruction();
  put_through_slot(cut, call_at, "\xff\x15", slot_address);
  cut.set(DT_PLTRELSZ, std::uint64_t{1} << 62);
  cut.set(DT_JMPREL, address_of(data_end - 2 * sizeof(Elf64_Rela)));
  cut.put(data_end - 2 * sizeof(Elf64_Rela), slot(other_slot_address, 1, R_X86_64_JUMP_SLOT));
  cut.put(data_end - sizeof(Elf64_Rela), slot(other_slot_address, 1, R_X86_64_JUMP_SLOT));
  EXPECT_FALSE(calls_syscall(cut));
  cut.put(data_end - sizeof(Elf64_Rela), slot(slot_address, 2, R_X86_64_JUMP_SLOT));  // the file's last bytes
  EXPECT_TRUE(calls_syscall(cut));
  cut.put(data_end - sizeof(Elf64_Rela), slot(slot_address, 1U << 30, R_X86_64_JUMP_SLOT));  // of no symbol
  EXPECT_FALSE(calls_syscall(cut));
}

#endif

}  // namespace
