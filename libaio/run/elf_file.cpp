// SPDX-License-Identifier: Apache-2.0
#include "elf_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::run {

std::optional<elf_file> elf_file::open(const std::string& path) {
  const base::unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat about{};
  ::fstat(file.get(), &about);  // if there is no file, the mode stays 0
  if (!S_ISREG(about.st_mode)) return std::nullopt;
  const auto size = static_cast<std::size_t>(about.st_size);
  if (size < sizeof(Elf64_Ehdr)) return std::nullopt;
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) return std::nullopt;
  elf_file made{{static_cast<const std::byte*>(mapped), size}};
  Elf64_Ehdr header;
  std::memcpy(&header, mapped, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) return std::nullopt;
  made.read_segments(header);
  made.read_dynamic_section();
  return made;
}

elf_file::~elf_file() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

template <class T>
std::optional<T> elf_file::read(std::uint64_t offset) const {
  static_assert(sizeof(T) <= sizeof(Elf64_Ehdr), "each file is as large as that");
  if (offset > bytes_.size() - sizeof(T)) return std::nullopt;
  T made;
  std::memcpy(&made, bytes_.data() + offset, sizeof made);
  return made;
}

void elf_file::read_segments(const Elf64_Ehdr& header) {
  for (std::uint64_t n = 0; n < header.e_phnum; ++n)
    if (const auto segment = read<Elf64_Phdr>(header.e_phoff + n * header.e_phentsize)) segments_.push_back(*segment);
}

void elf_file::read_dynamic_section() {
  for (const auto& segment : segments_) {
    if (segment.p_type != PT_DYNAMIC) continue;
    for (std::uint64_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      const auto entry = read<Elf64_Dyn>(segment.p_offset + at).value_or(Elf64_Dyn{.d_tag = DT_NULL, .d_un = {}});
      if (entry.d_tag == DT_NULL) return;
      dynamic_.push_back(entry);
    }
  }
}

std::string_view elf_file::all() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

std::string_view elf_file::rest_at(std::uint64_t offset) const {
  return all().substr(std::min<std::uint64_t>(offset, bytes_.size()));
}

// Up to the null character; empty if there is none.
std::string_view elf_file::text_at(std::uint64_t offset) const {
  const auto rest = rest_at(offset);
  const auto end = rest.find('\0');
  return end != std::string_view::npos ? rest.substr(0, end) : std::string_view{};
}

std::uint64_t elf_file::offset_of(std::uint64_t address) const {
  for (const auto& segment : segments_) {
    const auto distance = address - segment.p_vaddr;  // wraps to a very large number for an address before the segment
    if (segment.p_type == PT_LOAD && distance < segment.p_filesz) return segment.p_offset + distance;
  }
  return bytes_.size();
}

/// 0 if there is no such entry.
std::uint64_t elf_file::dynamic_value(std::int64_t tag) const {
  const auto found = std::ranges::find(dynamic_, tag, &Elf64_Dyn::d_tag);
  return found != dynamic_.end() ? found->d_un.d_val : 0;
}

/// The offset of a table of the dynamic section.
std::uint64_t elf_file::table(std::int64_t tag) const {
  const auto found = std::ranges::find(dynamic_, tag, &Elf64_Dyn::d_tag);
  return found != dynamic_.end() ? offset_of(found->d_un.d_ptr) : bytes_.size();
}

std::string_view elf_file::name_at(std::uint64_t name) const { return text_at(table(DT_STRTAB) + name); }

std::optional<Elf64_Sym> elf_file::symbol(std::uint64_t number) const {
  return read<Elf64_Sym>(table(DT_SYMTAB) + number * sizeof(Elf64_Sym));
}

std::string elf_file::interpreter() const {
  for (const auto& segment : segments_)
    if (segment.p_type == PT_INTERP) return std::string{text_at(segment.p_offset)};
  return {};
}

bool elf_file::needs(std::string_view library) const {
  return std::ranges::any_of(dynamic_, [&](const Elf64_Dyn& entry) {
    return entry.d_tag == DT_NEEDED && name_at(entry.d_un.d_val) == library;
  });
}

// The symbols that are not defined in this file come first. The newer hash table (DT_GNU_HASH) contains their number,
// the older one (DT_HASH) the number of all symbols.
std::uint64_t elf_file::undefined_symbols_end() const {
  struct gnu_hash {
    std::uint32_t buckets, first_defined;
  };
  struct hash {
    std::uint32_t buckets, symbols;
  };
  if (const auto start = read<gnu_hash>(table(DT_GNU_HASH))) return start->first_defined;
  if (const auto start = read<hash>(table(DT_HASH))) return start->symbols;
  return 0;  // equivalent fault (constant): symbol 0 has no name
}

bool elf_file::calls(std::string_view function) const {
  // equivalent fault (constant): symbol 0 has no name
  for (std::uint64_t n = 0, end = undefined_symbols_end(); n < end; ++n) {
    const auto each = symbol(n);
    if (!each) return false;
    if (each->st_shndx == SHN_UNDEF && name_at(each->st_name) == function) return true;
  }
  return false;
}

bool elf_file::contains(std::string_view text) const { return all().find(text) != std::string_view::npos; }

template <class Visit>
bool elf_file::any_behind(std::string_view instruction, Visit visit) const {
  for (const auto& segment : segments_) {
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    const auto code = rest_at(segment.p_offset).substr(0, segment.p_filesz);
    for (auto at = code.find(instruction); at != std::string_view::npos; at = code.find(instruction, at + 1)) {
      const auto behind = at + instruction.size();
      if (visit(code.substr(behind), segment.p_vaddr + behind)) return true;
    }
  }
  return false;
}

bool elf_file::executes(std::string_view first, std::string_view second, std::size_t within) const {
  return any_behind(first, [&](std::string_view code, std::uint64_t /*address*/) {
    return code.substr(0, within).find(second) != std::string_view::npos;
  });
}

#if defined(__x86_64__)

// The addresses where the dynamic linker stores the address of a function.
std::vector<std::uint64_t> elf_file::slots_of(std::string_view function) const {
  std::vector<std::uint64_t> found;
  for (const auto& [entries, bytes] : {std::pair{DT_JMPREL, DT_PLTRELSZ}, std::pair{DT_RELA, DT_RELASZ}}) {
    const auto start = table(entries);
    for (std::uint64_t at = 0, end = dynamic_value(bytes); at < end; at += sizeof(Elf64_Rela)) {
      const auto entry = read<Elf64_Rela>(start + at);
      if (!entry) break;
      const auto type = ELF64_R_TYPE(entry->r_info);
      if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) continue;
      const auto wanted = symbol(ELF64_R_SYM(entry->r_info));
      if (name_at(wanted ? wanted->st_name : 0) == function) found.push_back(entry->r_offset);
    }
  }
  return found;
}

/// The address that an instruction refers to: its last four bytes are the distance from the instruction's end.
std::uint64_t elf_file::relative(std::uint64_t code, std::uint64_t operand) const {
  const auto distance = read<std::int32_t>(offset_of(code + operand));
  // equivalent fault (constant): neither 0 nor 1 is the address of a slot or of code
  return distance ? code + operand + sizeof *distance + static_cast<std::uint64_t>(std::int64_t{*distance}) : 0;
}

// Whether the instruction calls or jumps to one of the slots, directly or through an entry of the procedure linkage
// table: [endbr64] [bnd] jmp *slot.
bool elf_file::calls_by_slot(std::uint64_t code, std::span<const std::uint64_t> slots) const {
  const auto byte_at = [&](std::uint64_t address) -> unsigned {
    // equivalent fault (constant): neither 0 nor 1 is a byte that is looked for
    return read<std::uint8_t>(offset_of(address)).value_or(0);
  };
  const auto goes_through_slot = [&](std::uint64_t address) {
    const bool is_indirect = byte_at(address) == 0xff && (byte_at(address + 1) == 0x15 || byte_at(address + 1) == 0x25);
    return is_indirect && std::ranges::find(slots, relative(address, 2)) != slots.end();
  };
  if (goes_through_slot(code)) return true;
  if (byte_at(code) != 0xe8 && byte_at(code) != 0xe9) return false;
  const auto target = relative(code, 1);
  constexpr std::array<std::uint64_t, 4> prefixes{0, 1, 4, 5};
  return std::ranges::any_of(prefixes, [&](std::uint64_t prefix) { return goes_through_slot(target + prefix); });
}

bool elf_file::calls_after(std::string_view instruction, std::string_view function, std::size_t within) const {
  const auto slots = slots_of(function);
  return any_behind(instruction, [&](std::string_view /*code*/, std::uint64_t address) {
    for (std::size_t at = 0; at < within; ++at)
      if (calls_by_slot(address + at, slots)) return true;
    return false;
  });
}

#else

bool elf_file::calls_after(std::string_view instruction, std::string_view function, std::size_t /*within*/) const {
  return calls(function) && any_behind(instruction, [](std::string_view, std::uint64_t) { return true; });
}

#endif

}  // namespace doorbell::run
