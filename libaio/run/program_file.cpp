// SPDX-License-Identifier: Apache-2.0
#include "program_file.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include <doorbell/base/unique_fd.hpp>

namespace doorbell::run {
namespace {

using elf_header = Elf64_Ehdr;
using elf_segment = Elf64_Phdr;

/// As many scripts that are interpreters of scripts as the kernel follows.
constexpr int most_interpreters = 5;

bool is_runnable(const std::string& path) {
  struct stat about{};
  return ::stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::string search_path() {
  if (const char* const path = std::getenv("PATH")) return path;
  std::string standard(::confstr(_CS_PATH, nullptr, 0), '\0');
  ::confstr(_CS_PATH, standard.data(), standard.size());
  standard.resize(std::strlen(standard.c_str()));
  return standard;
}

template <class Header>
bool read_at(int file, std::uint64_t offset, Header& into) {
  return ::pread(file, &into, sizeof into, static_cast<off_t>(offset)) == static_cast<ssize_t>(sizeof into);
}

/// What follows #!, without arguments. Empty: it is no script.
std::string interpreter_of(int file) {
  std::array<char, 256> text{};  // the kernel looks no further
  const auto got = ::pread(file, text.data(), text.size(), 0);
  if (got < 2 || text[0] != '#' || text[1] != '!') return {};
  std::string_view line{text.data() + 2, static_cast<std::size_t>(got) - 2};
  line = line.substr(0, line.find('\n'));
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return std::string{line.substr(0, line.find_first_of(" \t"))};
}

bool is_elf(const elf_header& header) { return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0; }

bool is_for_this_machine(const elf_header& header) {
  const base::unique_fd self{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  elf_header own{};
  return !read_at(self.get(), 0, own) ||
         (own.e_ident[EI_CLASS] == header.e_ident[EI_CLASS] && own.e_machine == header.e_machine);
}

/// The dynamic linker that the program asks for. Empty: none.
std::string linker_of(int file, const elf_header& header) {
  for (unsigned n = 0; n < header.e_phnum; ++n) {
    elf_segment segment{};
    if (!read_at(file, header.e_phoff + std::uint64_t{n} * header.e_phentsize, segment)) return {};
    if (segment.p_type != PT_INTERP) continue;
    std::array<char, PATH_MAX> path{};
    const auto size = std::min<std::size_t>(segment.p_filesz, path.size() - 1);
    if (::pread(file, path.data(), size, static_cast<off_t>(segment.p_offset)) <= 0) return {};
    return path.data();
  }
  return {};
}

bool is_musls(std::string_view linker) { return linker.substr(linker.rfind('/') + 1).starts_with("ld-musl"); }

/// Whether the kernel heeds the marks that give a program rights which its caller has not.
bool gives_rights(int file) {
  struct statvfs where{};
  const bool nosuid = ::fstatvfs(file, &where) == 0 && (where.f_flag & ST_NOSUID) != 0;
  return !nosuid && ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

// As the kernel sees it (AT_SECURE in getauxval(3)): what counts is that the rights change, so for root less does.
std::optional<std::string> rights_it_gains(int file) {
  struct stat about{};
  if (::fstat(file, &about) != 0 || !gives_rights(file)) return std::nullopt;
  if ((about.st_mode & S_ISUID) && about.st_uid != ::getuid()) return "is setuid";
  const mode_t setgid = S_ISGID | S_IXGRP;
  if ((about.st_mode & setgid) == setgid && about.st_gid != ::getgid()) return "is setgid";
  if (::getuid() != 0 && ::fgetxattr(file, "security.capability", nullptr, 0) > 0) return "has capabilities";
  return std::nullopt;
}

std::optional<std::string> why_not(const std::string& path) {
  const base::unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) return std::nullopt;  // it may be run without being read
  elf_header header{};
  if (!read_at(file.get(), 0, header) || !is_elf(header)) return std::nullopt;  // for execve, or a shell, to judge
  if (header.e_ident[EI_CLASS] == ELFCLASS32) return path + " is a 32-bit program, and the library is for 64-bit ones";
  if (!is_for_this_machine(header)) return path + " is for another kind of processor than the library";
  const auto linker = linker_of(file.get(), header);
  if (linker.empty()) return path + " is linked statically: it loads no libraries";
  if (is_musls(linker)) return path + " is linked with musl, and the library with glibc";
  if (const auto gained = rights_it_gains(file.get()))
    return path + " " + *gained + ": it is not to be given libraries by its caller";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return is_runnable(name) ? std::optional{name} : std::nullopt;
  const std::string folders = search_path();
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    std::string path = folders.substr(at, end - at);
    if (!path.empty()) path += '/';  // an empty one is the working directory
    path += name;
    if (is_runnable(path)) return path;
    at = end + 1;
  }
  return std::nullopt;
}

std::string program_behind(const std::string& path) {
  std::string program = path;
  for (int n = 0; n <= most_interpreters; ++n) {
    const base::unique_fd file{::open(program.c_str(), O_RDONLY | O_CLOEXEC)};
    auto interpreter = file ? interpreter_of(file.get()) : std::string{};
    if (interpreter.empty()) break;
    program = std::move(interpreter);
  }
  return program;
}

std::optional<std::string> why_not_preloaded(const std::string& path) { return why_not(program_behind(path)); }

}  // namespace doorbell::run
