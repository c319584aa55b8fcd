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

template <class Visit>
void elf_file::each_relocation(Visit visit) const {
  for (const auto& [entries, bytes] : {std::pair{DT_JMPREL, DT_PLTRELSZ}, std::pair{DT_RELA, DT_RELASZ}}) {
    const auto start = table(entries);
    for (std::uint64_t at = 0, end = dynamic_value(bytes); at < end; at += sizeof(Elf64_Rela)) {
      const auto entry = read<Elf64_Rela>(start + at);
      if (!entry) break;
      const auto wanted = ELF64_R_SYM(entry->r_info) != 0 ? symbol(ELF64_R_SYM(entry->r_info)) : std::nullopt;
      if (wanted) visit(*entry, *wanted);
    }
  }
}

// Each use of an imported function has a relocation. The hash table does not contain the number of imported symbols if
// the file exports none: the linker then writes a DT_GNU_HASH whose first defined symbol is 1.
bool elf_file::calls(std::string_view function) const {
  bool found = false;
  each_relocation([&](const Elf64_Rela& /*entry*/, const Elf64_Sym& wanted) {
    found = found || (wanted.st_shndx == SHN_UNDEF && name_at(wanted.st_name) == function);
  });
  return found;
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
constexpr std::uint32_t jump_slot = R_X86_64_JUMP_SLOT;
constexpr std::uint32_t global_data = R_X86_64_GLOB_DAT;
#else
constexpr std::uint32_t jump_slot = R_AARCH64_JUMP_SLOT;
constexpr std::uint32_t global_data = R_AARCH64_GLOB_DAT;
#endif

// The addresses where the dynamic linker stores the address of a function.
std::vector<std::uint64_t> elf_file::slots_of(std::string_view function) const {
  std::vector<std::uint64_t> found;
  each_relocation([&](const Elf64_Rela& entry, const Elf64_Sym& wanted) {
    const auto type = ELF64_R_TYPE(entry.r_info);
    if (type != jump_slot && type != global_data) return;
    if (name_at(wanted.st_name) == function) found.push_back(entry.r_offset);
  });
  return found;
}

#if defined(__x86_64__)

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

namespace {

constexpr std::uint64_t word_bytes = 4;  // of each instruction

constexpr std::uint64_t sign_extended(std::uint64_t number, unsigned bits) {
  const auto sign = std::uint64_t{1} << (bits - 1);
  return (number ^ sign) - sign;
}

constexpr unsigned base_register(std::uint32_t word) { return word >> 5 & 31; }  // also the target of br and blr
constexpr unsigned result_register(std::uint32_t word) { return word & 31; }

constexpr bool is_page(std::uint32_t word) { return (word & 0x9f000000) == 0x90000000; }      // adrp
constexpr bool is_load(std::uint32_t word) { return (word & 0xffc00000) == 0xf9400000; }      // ldr x, [x, #n]
constexpr bool is_direct(std::uint32_t word) { return (word & 0x7c000000) == 0x14000000; }    // b, bl
constexpr bool is_indirect(std::uint32_t word) { return (word & 0xff9ffc1f) == 0xd61f0000; }  // br, blr, ret
constexpr bool moves_to_x0(std::uint32_t word) {                                              // mov x0, #n or x
  return (word & 0x7f80001f) == 0x52800000 || (word & 0x7fe0ffff) == 0x2a0003e0;
}

}  // namespace

/// 0, which is not an instruction that is looked for, if the file has no word for this address.
std::uint32_t elf_file::word_at(std::uint64_t address) const {
  return read<std::uint32_t>(offset_of(address)).value_or(0);
}

/// The address that one of the nearest instructions before `code` loads the register from; 0 if none of them loads it.
std::uint64_t elf_file::loaded_from(std::uint64_t code, unsigned into) const {
  constexpr std::uint64_t near = 16 * word_bytes;
  std::optional<std::uint32_t> load;
  for (auto at = code - word_bytes; at != code - near; at -= word_bytes) {
    const auto word = word_at(at);
    if (!load && is_load(word) && result_register(word) == into) load = word;
    if (!load || !is_page(word) || result_register(word) != base_register(*load)) continue;
    const std::uint64_t pages = (word >> 5 & 0x7ffff) << 2 | (word >> 29 & 3);
    const std::uint64_t in_page = (*load >> 10 & 0xfff) * sizeof(std::uint64_t);
    return (at & ~std::uint64_t{0xfff}) + (sign_extended(pages, 21) << 12) + in_page;
  }
  return 0;
}

// Whether the instruction calls or jumps to one of the slots, directly or through an entry of the procedure linkage
// table: [bti c] adrp, ldr, add, br.
bool elf_file::calls_by_slot(std::uint64_t code, std::span<const std::uint64_t> slots) const {
  const auto goes_through_slot = [&](std::uint64_t address) {
    const auto word = word_at(address);
    return is_indirect(word) && std::ranges::find(slots, loaded_from(address, base_register(word))) != slots.end();
  };
  const auto word = word_at(code);
  if (!is_direct(word)) return goes_through_slot(code);
  const auto target = code + sign_extended(word & 0x3ffffff, 26) * word_bytes;
  return goes_through_slot(target + 3 * word_bytes) || goes_through_slot(target + 4 * word_bytes);
}

// Examines the instructions up to the next call or jump, since a function may change all registers of arguments.
bool elf_file::calls_after(std::string_view instruction, std::string_view function, std::size_t within) const {
  const auto slots = slots_of(function);
  return any_behind(instruction, [&](std::string_view /*code*/, std::uint64_t address) {
    if (address % word_bytes != 0) return false;
    for (const auto end = address + within; address < end; address += word_bytes) {
      const auto word = word_at(address);
      if (is_direct(word) || is_indirect(word)) return calls_by_slot(address, slots);
      if (moves_to_x0(word)) return false;
    }
    return false;
  });
}

#endif

}  // namespace doorbell::run
