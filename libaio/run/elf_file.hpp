// SPDX-License-Identifier: Apache-2.0
//
// An executable file or a library: the properties of the file that show how it makes the calls of the kernel's AIO. The
// file may have any contents: all offsets in it are checked.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace doorbell::run {

class elf_file {
 public:
  /// @return nullopt if the file cannot be read, or is not a 64-bit ELF file.
  [[nodiscard]] static std::optional<elf_file> open(const std::string& path);
  ~elf_file();
  elf_file(elf_file&& other) noexcept
      : bytes_{std::exchange(other.bytes_, {})},
        segments_{std::move(other.segments_)},
        dynamic_{std::move(other.dynamic_)} {}
  elf_file& operator=(elf_file&&) = delete;

  /// Its dynamic linker; empty if it names none.
  [[nodiscard]] std::string interpreter() const;
  /// Whether it depends on a library of this name.
  [[nodiscard]] bool needs(std::string_view library) const;
  /// Whether it imports a function of this name.
  [[nodiscard]] bool calls(std::string_view function) const;
  /// Whether it calls this imported function at most `within` bytes after an `instruction`. On arm64, where the
  /// instruction must load x0, no other call, jump or load of x0 may be between them.
  [[nodiscard]] bool calls_after(std::string_view instruction, std::string_view function, std::size_t within) const;
  /// Whether the file contains this text.
  [[nodiscard]] bool contains(std::string_view text) const;
  /// Whether its code contains `second` at most `within` bytes after `first`.
  [[nodiscard]] bool executes(std::string_view first, std::string_view second, std::size_t within) const;

 private:
  explicit elf_file(std::span<const std::byte> bytes) : bytes_{bytes} {}

  // An offset is a position in the file. An address or a table that is not in the file has the offset of the file's
  // end, where reads fail.
  template <class T>
  [[nodiscard]] std::optional<T> read(std::uint64_t offset) const;
  [[nodiscard]] std::string_view all() const;
  [[nodiscard]] std::string_view rest_at(std::uint64_t offset) const;
  [[nodiscard]] std::string_view text_at(std::uint64_t offset) const;
  [[nodiscard]] std::uint64_t offset_of(std::uint64_t address) const;
  [[nodiscard]] std::uint64_t dynamic_value(std::int64_t tag) const;
  [[nodiscard]] std::uint64_t table(std::int64_t tag) const;
  [[nodiscard]] std::string_view name_at(std::uint64_t name) const;
  [[nodiscard]] std::optional<Elf64_Sym> symbol(std::uint64_t number) const;
  [[nodiscard]] std::vector<std::uint64_t> slots_of(std::string_view function) const;
  [[nodiscard]] bool calls_by_slot(std::uint64_t code, std::span<const std::uint64_t> slots) const;
#if defined(__x86_64__)
  [[nodiscard]] std::uint64_t relative(std::uint64_t code, std::uint64_t operand) const;
#else
  [[nodiscard]] std::uint32_t word_at(std::uint64_t address) const;
  [[nodiscard]] std::uint64_t loaded_from(std::uint64_t code, unsigned into) const;
#endif

  /// Calls `visit` with each relocation that refers to a symbol, and the symbol.
  template <class Visit>
  void each_relocation(Visit visit) const;

  /// Calls `visit` with the code after each occurrence of the instruction and that code's address, until it returns
  /// true.
  /// @return whether it returned true.
  template <class Visit>
  bool any_behind(std::string_view instruction, Visit visit) const;
  void read_segments(const Elf64_Ehdr& header);
  void read_dynamic_section();

  std::span<const std::byte> bytes_;  // mapped
  std::vector<Elf64_Phdr> segments_;
  std::vector<Elf64_Dyn> dynamic_;
};

}  // namespace doorbell::run
