// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>
#include <vector>

#include <doorbell/base/unique_fd.hpp>

#include "elf_file.hpp"
#include "failure.hpp"
#include "program_file.hpp"

namespace doorbell::run {
namespace {

constexpr std::array<std::string_view, 2> sonames{"libaio.so.1", "libaio.so.1t64"};
/// Functions of libaio; a program that does I/O with libaio calls at least one of them.
constexpr std::array<std::string_view, 2> functions{"io_submit", "io_queue_run"};

std::string read_all(int file) {
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const auto got = ::read(file, part.data(), part.size());
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

/// The output of a command; empty if it cannot be run.
std::string output_of(std::vector<std::string> command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  const base::unique_fd from{ends[0]};
  base::unique_fd into{ends[1]};
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (auto& each : command) arguments.push_back(each.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, into.get(), STDOUT_FILENO);
  constexpr int no_mode = 0;
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, no_mode);
  std::string text;
  pid_t child{};
  if (::posix_spawn(&child, arguments.front(), &actions, nullptr, arguments.data(), environ) == 0) {
    into.reset();
    text = read_all(from.get());
    constexpr int until_it_ends = 0;
    ::waitpid(child, nullptr, until_it_ends);  // equivalent fault (call): the child has nothing more to print
  }
  // equivalent fault (call): the process ends soon, and its memory with it
  ::posix_spawn_file_actions_destroy(&actions);
  return text;
}

/// The libraries that a program will be started with. The dynamic linker lists them without running any code of the
/// program. It is doorbell-run's own dynamic linker, since the program may name any file as its own. doorbell's
/// libaio.so.1 is preloaded, because the system may have no library of that name.
std::vector<std::string> libraries_of(const std::string& program, const std::string& ours) {
  const auto self = elf_file::open("/proc/self/exe");
  const auto linker = self ? self->interpreter() : std::string{};
  std::vector<std::string> found;
  std::istringstream lines{output_of({linker, "--preload", ours, "--list", program})};
  // "\tlibc.so.6 => /lib/libc.so.6 (0x00007f...)", without an arrow if the program itself contains the path
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view sign = " => ";
    constexpr std::size_t without_tab = 1;
    const auto arrow = line.find(sign);
    const auto start = arrow != std::string::npos ? arrow + sign.size() : std::min(without_tab, line.size());
    const auto library = line.substr(start, line.rfind(" (0x") - start);
    // Leaves out the kernel's vDSO, which has no file, and messages of the dynamic linker.
    if (library.find('/') != std::string::npos) found.push_back(library);
  }
  return found;
}

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

/// Whether the file is a libaio, Debian's or doorbell's.
bool is_libaio(std::string_view path) { return name_of(path).starts_with("libaio.so."); }

// Instructions as compilers emit them for a constant number: they load it into the register of the first argument of
// syscall(2), or, if the program makes the system call itself, into the register of the number, shortly before the
// system call instruction.
constexpr std::size_t near = 64;  // bytes
#if defined(__x86_64__)
constexpr std::array<std::string_view, 2> as_argument{{{"\xbf\xd1\0\0\0", 5},    // mov $209, %edi: io_submit
                                                       {"\xbf\xd0\0\0\0", 5}}};  // mov $208, %edi: io_getevents
constexpr std::array<std::string_view, 1> as_number{{{"\xb8\xd1\0\0\0", 5}}};    // mov $209, %eax
constexpr std::string_view system_call{"\x0f\x05", 2};
#else
constexpr std::array<std::string_view, 4> as_argument{{{"\x40\0\x80\xd2", 4},    // mov x0, #2: io_submit
                                                       {"\x40\0\x80\x52", 4},    // mov w0, #2
                                                       {"\x80\0\x80\xd2", 4},    // mov x0, #4: io_getevents
                                                       {"\x80\0\x80\x52", 4}}};  // mov w0, #4
constexpr std::array<std::string_view, 2> as_number{{{"\x48\0\x80\xd2", 4},      // mov x8, #2
                                                     {"\x48\0\x80\x52", 4}}};    // mov w8, #2
constexpr std::string_view system_call{"\x01\0\0\xd4", 4};                       // svc #0
#endif

bool has_calls_by_number(const elf_file& file) {
  return std::ranges::any_of(as_argument, [&](auto each) { return file.calls_after(each, "syscall", near); });
}
bool has_submit_by_instruction(const elf_file& file) {
  return std::ranges::any_of(as_number, [&](auto each) { return file.executes(each, system_call, near); });
}

bool is_linked_with_libaio(const elf_file& file) {
  return std::ranges::any_of(sonames, [&](auto each) { return file.needs(each); }) ||
         std::ranges::any_of(functions, [&](auto each) { return file.calls(each); });
}

/// The files of a program, by how they make the calls of the kernel's AIO. A file may be in several lists.
struct callers {
  std::vector<std::string> by_libaio;
  std::vector<std::string> by_dlopen;
  std::vector<std::string> by_number;
  std::vector<std::string> by_instruction;
};

void sort_in(callers& all, const std::string& path) {
  const auto file = elf_file::open(path);
  if (!file || is_libaio(path)) return;
  if (is_linked_with_libaio(*file))
    all.by_libaio.push_back(path);
  else if (file->contains("libaio.so"))
    all.by_dlopen.push_back(path);
  if (has_calls_by_number(*file)) all.by_number.push_back(path);
  if (has_submit_by_instruction(*file)) all.by_instruction.push_back(path);
}

void print(std::ostream& out, std::string_view what, const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  out << "  " << what << ':';
  for (const auto& each : paths) out << ' ' << each;
  out << '\n';
}

constexpr int nothing_reached = 1;

finding judge(const std::string& described, const callers& all, bool with_syscall) {
  std::ostringstream out;
  const bool by_number = with_syscall && !all.by_number.empty();
  const bool is_reached = !all.by_libaio.empty() || !all.by_dlopen.empty() || by_number;
  const bool is_missed = !all.by_instruction.empty() || (!with_syscall && !all.by_number.empty());
  const auto* verdict = "no AIO call was found";
  if (is_reached) verdict = is_missed ? "reached in part" : "reached";
  if (!is_reached && is_missed) verdict = "not reached";
  out << described << ": " << verdict << '\n';
  print(out, "linked with libaio", all.by_libaio);
  print(out, "names libaio, for dlopen(3)", all.by_dlopen);
  print(out, with_syscall ? "calls by syscall(2)" : "calls by syscall(2), which --no-syscall leaves alone",
        all.by_number);
  print(out, "executes the system calls itself, which is not reached", all.by_instruction);
  return {out.str(), is_reached ? 0 : nothing_reached};
}

}  // namespace

finding check(const std::string& name, const std::string& library, bool with_syscall) {
  const auto path = find_program(name);
  if (!path) throw failure{failure::not_found, name + ": there is no such program, or it may not be run"};
  const auto program = program_behind(*path);
  const std::string described = program == *path ? program : *path + ", run by " + program;
  if (const auto reason = why_not_preloaded(*path))
    return {described + ": not reached\n  " + *reason + '\n', failure::cannot_be_run};
  callers all;
  sort_in(all, program);
  for (const auto& each : libraries_of(program, library)) sort_in(all, each);
  return judge(described, all, with_syscall);
}

}  // namespace doorbell::run
