// SPDX-License-Identifier: Apache-2.0
#include "elf_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::run {

std::optional<elf_file> elf_file::open(const std::string& path) {
  const base::unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat about{};
  if (!file || ::fstat(file.get(), &about) != 0 || !S_ISREG(about.st_mode)) return std::nullopt;
  const auto size = static_cast<std::size_t>(about.st_size);
  if (size < sizeof(Elf64_Ehdr)) return std::nullopt;
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) return std::nullopt;
  elf_file made{{static_cast<const std::byte*>(mapped), size}};
  const auto header = made.read<Elf64_Ehdr>(0);
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64)
    return std::nullopt;
  made.read_segments();
  made.read_dynamic_section();
  return made;
}

elf_file::~elf_file() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

template <class T>
std::optional<T> elf_file::read(std::uint64_t offset) const {
  if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) return std::nullopt;
  T made;
  std::memcpy(&made, bytes_.data() + offset, sizeof made);
  return made;
}

void elf_file::read_segments() {
  const auto header = read<Elf64_Ehdr>(0);
  for (std::uint64_t n = 0; n < header->e_phnum; ++n)
    if (const auto segment = read<Elf64_Phdr>(header->e_phoff + n * header->e_phentsize)) segments_.push_back(*segment);
}

void elf_file::read_dynamic_section() {
  for (const auto& segment : segments_) {
    if (segment.p_type != PT_DYNAMIC) continue;
    for (std::uint64_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      const auto entry = read<Elf64_Dyn>(segment.p_offset + at);
      if (!entry || entry->d_tag == DT_NULL) return;
      dynamic_.push_back(*entry);
    }
  }
}

std::string_view elf_file::all() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

// Up to the null character. Empty: there is none.
std::string_view elf_file::text_at(std::uint64_t offset) const {
  if (offset >= bytes_.size()) return {};
  const auto* const start = reinterpret_cast<const char*>(bytes_.data() + offset);
  const auto* const end = static_cast<const char*>(std::memchr(start, '\0', bytes_.size() - offset));
  return end != nullptr ? std::string_view{start, static_cast<std::size_t>(end - start)} : std::string_view{};
}

std::optional<std::uint64_t> elf_file::offset_of(std::uint64_t address) const {
  for (const auto& segment : segments_)
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr && address - segment.p_vaddr < segment.p_filesz)
      return address - segment.p_vaddr + segment.p_offset;
  return std::nullopt;
}

std::optional<std::uint64_t> elf_file::dynamic_entry(std::int64_t tag) const {
  const auto found = std::ranges::find(dynamic_, tag, &Elf64_Dyn::d_tag);
  return found != dynamic_.end() ? std::optional{found->d_un.d_val} : std::nullopt;
}

std::string elf_file::interpreter() const {
  for (const auto& segment : segments_)
    if (segment.p_type == PT_INTERP) return std::string{text_at(segment.p_offset)};
  return {};
}

bool elf_file::needs(std::string_view library) const {
  const auto names = offset_of(dynamic_entry(DT_STRTAB).value_or(0));
  return names && std::ranges::any_of(dynamic_, [&](const Elf64_Dyn& entry) {
           return entry.d_tag == DT_NEEDED && text_at(*names + entry.d_un.d_val) == library;
         });
}

// The hash tables tell how many symbols there are: the older one all, the newer one those that are not defined here,
// which come first.
std::uint64_t elf_file::undefined_symbols_end() const {
  struct gnu_hash {
    std::uint32_t buckets, first_defined;
  };
  struct hash {
    std::uint32_t buckets, symbols;
  };
  if (const auto table = dynamic_entry(DT_GNU_HASH))
    if (const auto offset = offset_of(*table))
      if (const auto start = read<gnu_hash>(*offset)) return start->first_defined;
  if (const auto table = dynamic_entry(DT_HASH))
    if (const auto offset = offset_of(*table))
      if (const auto start = read<hash>(*offset)) return start->symbols;
  return 0;
}

bool elf_file::calls(std::string_view function) const {
  const auto names = offset_of(dynamic_entry(DT_STRTAB).value_or(0));
  const auto symbols = offset_of(dynamic_entry(DT_SYMTAB).value_or(0));
  if (!names || !symbols) return false;
  for (std::uint64_t n = 0, end = undefined_symbols_end(); n < end; ++n) {
    const auto symbol = read<Elf64_Sym>(*symbols + n * sizeof(Elf64_Sym));
    if (!symbol) return false;
    if (symbol->st_shndx == SHN_UNDEF && symbol->st_name != 0 && text_at(*names + symbol->st_name) == function)
      return true;
  }
  return false;
}

bool elf_file::contains(std::string_view text) const { return all().find(text) != std::string_view::npos; }

template <class Visit>
bool elf_file::any_behind(std::string_view instruction, Visit visit) const {
  for (const auto& segment : segments_) {
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0 || segment.p_offset > bytes_.size()) continue;
    const auto code = all().substr(segment.p_offset, segment.p_filesz);
    for (auto at = code.find(instruction); at != std::string_view::npos; at = code.find(instruction, at + 1))
      if (visit(segment.p_vaddr + at + instruction.size())) return true;
  }
  return false;
}

bool elf_file::executes(std::string_view first, std::string_view second, std::size_t within) const {
  return any_behind(first, [&](std::uint64_t code) {
    const auto offset = offset_of(code);
    return offset &&
           all().substr(std::min<std::uint64_t>(*offset, bytes_.size()), within).find(second) != std::string_view::npos;
  });
}

#if defined(__x86_64__)

// The words in which the dynamic linker puts the address of a function.
std::vector<std::uint64_t> elf_file::slots_of(std::string_view function) const {
  std::vector<std::uint64_t> found;
  const auto names = offset_of(dynamic_entry(DT_STRTAB).value_or(0));
  const auto symbols = offset_of(dynamic_entry(DT_SYMTAB).value_or(0));
  if (!names || !symbols) return found;
  for (const auto& [table, size] : {std::pair{DT_JMPREL, DT_PLTRELSZ}, std::pair{DT_RELA, DT_RELASZ}}) {
    const auto start = offset_of(dynamic_entry(table).value_or(0));
    for (std::uint64_t at = 0, end = dynamic_entry(size).value_or(0); start && at < end; at += sizeof(Elf64_Rela)) {
      const auto entry = read<Elf64_Rela>(*start + at);
      if (!entry) break;
      const auto type = ELF64_R_TYPE(entry->r_info);
      if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) continue;
      const auto symbol = read<Elf64_Sym>(*symbols + ELF64_R_SYM(entry->r_info) * sizeof(Elf64_Sym));
      if (symbol && text_at(*names + symbol->st_name) == function) found.push_back(entry->r_offset);
    }
  }
  return found;
}

/// The address that an instruction names by its distance from the instruction's end, in its last four bytes.
std::uint64_t elf_file::relative(std::uint64_t code, std::uint64_t operand) const {
  const auto offset = offset_of(code + operand);
  const auto distance = offset ? read<std::int32_t>(*offset) : std::nullopt;
  return distance ? code + operand + sizeof *distance + static_cast<std::uint64_t>(std::int64_t{*distance}) : 0;
}

// Calls and jumps, directly or through an entry of the procedure linkage table: [endbr64] [bnd] jmp *slot.
bool elf_file::calls_by_slot(std::uint64_t code, std::span<const std::uint64_t> slots) const {
  const auto byte_at = [&](std::uint64_t address) -> unsigned {
    const auto offset = offset_of(address);
    return offset ? read<std::uint8_t>(*offset).value_or(0) : 0;
  };
  const auto goes_through_slot = [&](std::uint64_t address) {
    const bool is_indirect = byte_at(address) == 0xff && (byte_at(address + 1) == 0x15 || byte_at(address + 1) == 0x25);
    return is_indirect && std::ranges::find(slots, relative(address, 2)) != slots.end();
  };
  if (goes_through_slot(code)) return true;
  if (byte_at(code) != 0xe8 && byte_at(code) != 0xe9) return false;
  const auto target = relative(code, 1);
  for (const std::uint64_t prefix : {0U, 1U, 4U, 5U})
    if (goes_through_slot(target + prefix)) return true;
  return false;
}

bool elf_file::calls_after(std::string_view instruction, std::string_view function, std::size_t within) const {
  const auto slots = slots_of(function);
  return !slots.empty() && any_behind(instruction, [&](std::uint64_t code) {
    for (std::size_t at = 0; at < within; ++at)
      if (calls_by_slot(code + at, slots)) return true;
    return false;
  });
}

#else

bool elf_file::calls_after(std::string_view instruction, std::string_view function, std::size_t /*within*/) const {
  return calls(function) && any_behind(instruction, [](std::uint64_t) { return true; });
}

#endif

}  // namespace doorbell::run
