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
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include <doorbell/base/unique_fd.hpp>

#include "elf_file.hpp"

namespace doorbell::run {
namespace {

#if defined(__x86_64__)
constexpr Elf64_Half this_machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half this_machine = EM_AARCH64;
#endif

/// The length of the longest chain of scripts that the kernel follows, each the interpreter of the previous one.
constexpr int most_scripts = 5;

bool is_runnable(const std::string& path) {
  struct stat about{};
  ::stat(path.c_str(), &about);  // if it fails, the mode stays 0
  return S_ISREG(about.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

const char* search_path() {
  const char* const path = std::getenv("PATH");
  return path != nullptr ? path : "/bin:/usr/bin";  // the default of execvp(3)
}

/// The path after #!, without arguments; empty if the file is not a script.
std::string interpreter_of(int file) {
  std::array<char, 256> text{};  // as much as the kernel reads
  const auto got = ::pread(file, text.data(), text.size(), 0);
  if (text[0] != '#' || text[1] != '!') return {};
  std::string_view line{text.data() + 2, static_cast<std::size_t>(got) - 2};
  line = line.substr(0, line.find('\n'));
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return std::string{line.substr(0, line.find_first_of(" \t"))};
}

bool is_musls(std::string_view linker) { return linker.substr(linker.rfind('/') + 1).starts_with("ld-musl"); }

/// Whether the kernel honours the marks of a file that give a program more rights than its caller has.
bool gives_rights(int file) {
  struct statvfs where{};
  ::fstatvfs(file, &where);  // if it fails, the flags stay 0
  return (where.f_flag & ST_NOSUID) == 0 && ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

bool has_capabilities(int file) {
  // equivalent fault (comparison): the attribute is never empty
  return ::fgetxattr(file, "security.capability", nullptr, 0) > 0;
}

// As the kernel decides (AT_SECURE in getauxval(3)): only a change of the rights counts, so fewer cases count for root.
std::optional<std::string> rights_it_gains(int file) {
  struct stat about{};
  ::fstat(file, &about);
  if (!gives_rights(file)) return std::nullopt;
  if ((about.st_mode & S_ISUID) && about.st_uid != ::getuid()) return "is setuid";
  const mode_t setgid = S_ISGID | S_IXGRP;
  if ((about.st_mode & setgid) == setgid && about.st_gid != ::getgid()) return "is setgid";
  if (::getuid() != 0 && has_capabilities(file)) return "has capabilities";
  return std::nullopt;
}

std::optional<std::string> why_not(const std::string& path) {
  // A file that cannot be read may still be run. execve(2), or a shell, rejects files that are not ELF files.
  const base::unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  Elf64_Ehdr header{};
  if (::pread(file.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) return std::nullopt;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (header.e_ident[EI_CLASS] == ELFCLASS32) return path + " is a 32-bit program, and the library is for 64-bit ones";
  if (header.e_machine != this_machine) return path + " is for another kind of processor than the library";
  const auto program = elf_file::open(path);
  if (!program) return std::nullopt;
  const auto linker = program->interpreter();
  if (linker.empty()) return path + " is linked statically: it loads no libraries";
  if (is_musls(linker)) return path + " is linked with musl, and the library with glibc";
  if (const auto gained = rights_it_gains(file.get()))
    return path + " " + *gained + ": its caller may not preload libraries into it";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return is_runnable(name) ? std::optional{name} : std::nullopt;
  const std::string_view folders = search_path();
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    std::string path{folders.substr(at, end - at)};
    if (!path.empty()) path += '/';  // an empty entry means the working directory
    path += name;
    if (is_runnable(path)) return path;
    at = end + 1;
  }
  return std::nullopt;
}

std::string program_behind(const std::string& path) {
  std::string program = path;
  for (int n = 0; n < most_scripts; ++n) {
    const base::unique_fd file{::open(program.c_str(), O_RDONLY | O_CLOEXEC)};
    auto interpreter = interpreter_of(file.get());
    if (interpreter.empty()) break;
    program = std::move(interpreter);
  }
  return program;
}

std::optional<std::string> why_not_preloaded(const std::string& path) { return why_not(program_behind(path)); }

}  // namespace doorbell::run
