// SPDX-License-Identifier: Apache-2.0
//
// Small ELF files that tests make from bytes that they name, so a table can end exactly where the file ends.
#pragma once

#include <elf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../../libaio/run/elf_file.hpp"
#include "support/files.hpp"

namespace doorbell::test {

using namespace std::string_view_literals;
using run::elf_file;

/// Opens a file with this content. The file has no name any more.
inline std::optional<elf_file> opened(std::string_view content) {
  const auto file = temporary_file(content);
  return elf_file::open("/proc/self/fd/" + std::to_string(file.get()));
}

// Offsets of the parts in the files of these tests. The data follows the code in memory, but not in the file.
inline constexpr std::size_t headers_at = sizeof(Elf64_Ehdr);
inline constexpr std::size_t linker_at = 0x300;
inline constexpr std::size_t note_at = 0x380;
inline constexpr std::size_t code_at = 0x400;
inline constexpr std::size_t code_bytes = 0x200;
inline constexpr std::size_t data_at = 0x800;
inline constexpr std::size_t symbols_at = 0xa00;
inline constexpr std::size_t jumps_at = 0xb00;
inline constexpr std::size_t relocations_at = 0xc00;
inline constexpr std::size_t dynamic_at = 0xd00;
inline constexpr std::size_t hash_at = 0xf00;
inline constexpr std::size_t data_end = hash_at + 8;  // the end of the data and of the file
inline constexpr std::uint64_t code_address = 0x401000;
inline constexpr std::uint64_t data_address = code_address + code_bytes;
inline constexpr std::uint64_t slot_address = 0x500000;
inline constexpr std::uint64_t other_slot_address = 0x500008;

// The types of the relocations of slots.
#if defined(__x86_64__)
inline constexpr std::uint32_t jump_slot = R_X86_64_JUMP_SLOT;
inline constexpr std::uint32_t global_data = R_X86_64_GLOB_DAT;
inline constexpr std::uint32_t no_slot = R_X86_64_64;
#else
inline constexpr std::uint32_t jump_slot = R_AARCH64_JUMP_SLOT;
inline constexpr std::uint32_t global_data = R_AARCH64_GLOB_DAT;
inline constexpr std::uint32_t no_slot = R_AARCH64_ABS64;
#endif

inline std::uint64_t address_of(std::size_t at) { return data_address + (at - data_at); }

// The names, and their offsets among them.
inline constexpr auto names = "\0syscall\0io_submit\0libaio.so.1\0other\0"sv;
inline std::uint32_t name_of(std::string_view name) { return static_cast<std::uint32_t>(names.find(name)); }

inline Elf64_Phdr segment(std::uint32_t type, std::size_t at, std::size_t bytes, std::uint64_t address = 0,
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

inline Elf64_Sym symbol(std::string_view name, std::uint16_t section = SHN_UNDEF) {
  return {.st_name = name_of(name), .st_info = 0, .st_other = 0, .st_shndx = section, .st_value = 0, .st_size = 0};
}

inline Elf64_Rela slot(std::uint64_t address, std::uint64_t symbol_number, std::uint32_t type) {
  return {.r_offset = address, .r_info = ELF64_R_INFO(symbol_number, type), .r_addend = 0};
}

/// A program that is linked with libaio.so.1 and imports io_submit and syscall. Tests change it.
class program {
 public:
  program() {
    put(linker_at, "/lib/linker\0"sv);
    put(data_at, names);
    put(symbols_at, std::array{symbol("\0"), symbol("io_submit"), symbol("syscall")});
    put(jumps_at, std::array{slot(slot_address, 2, jump_slot), slot(other_slot_address, 1, jump_slot)});
    put(hash_at, std::array<std::uint32_t, 2>{1, 1});  // as the linker writes it if the program exports nothing
  }

  std::vector<Elf64_Phdr> segments{segment(PT_INTERP, linker_at, 12),
                                   segment(PT_NOTE, note_at, 0x80, data_address, PF_R | PF_X),
                                   segment(PT_LOAD, code_at, code_bytes, code_address, PF_R | PF_X),
                                   segment(PT_LOAD, data_at, data_end - data_at, data_address),
                                   segment(PT_DYNAMIC, dynamic_at, 0)};  // open() sets its size: that of `dynamic`
  std::vector<Elf64_Dyn> dynamic{entry(DT_NEEDED, name_of("libaio.so.1")),   entry(DT_STRTAB, address_of(data_at)),
                                 entry(DT_SYMTAB, address_of(symbols_at)),   entry(DT_JMPREL, address_of(jumps_at)),
                                 entry(DT_PLTRELSZ, 2 * sizeof(Elf64_Rela)), entry(DT_GNU_HASH, address_of(hash_at))};
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

}  // namespace doorbell::test
