// SPDX-License-Identifier: Apache-2.0
//
// doorbell-run: replaces itself by another program, with doorbell's libaio.so.1 and syscall(2) preloaded. No process
// stays between the program and its caller, so signals and the exit status are the program's own.
#include <doorbell/version.hpp>

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>

#include "check.hpp"
#include "failure.hpp"
#include "options.hpp"
#include "program_file.hpp"

namespace doorbell::run {
namespace {

/// The path of one of doorbell's libraries. DOORBELL_LIBRARIES is relative to doorbell-run's folder, so that both may
/// be moved together.
std::string library(const char* name) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  auto path = (self.parent_path() / DOORBELL_LIBRARIES / name).lexically_normal().string();
  if (::access(path.c_str(), R_OK) != 0)
    throw failure{failure::of_doorbell_run,
                  path + ": " + std::strerror(errno) + "; it is installed together with doorbell-run"};
  // ld.so(8) takes these characters as separators, or as the start of a token that it expands, and has no quoting.
  if (path.find_first_of(" :$") != std::string::npos)
    throw failure{failure::of_doorbell_run,
                  path + ": a path that contains a space, a colon or a $ cannot be preloaded"};
  return path;
}

void set(const char* variable, const std::string& value) {
  constexpr int replace = 1;
  if (::setenv(variable, value.c_str(), replace) != 0)
    throw failure{failure::of_doorbell_run, std::string{variable} + ": " + std::strerror(errno)};
}

void preload(const std::string& path) {
  const char* const others = std::getenv("LD_PRELOAD");
  set("LD_PRELOAD", others != nullptr && *others != '\0' ? path + ":" + others : path);
}

[[noreturn]] void become(char** command) {
  const std::string name = *command;
  if (const auto path = find_program(name))
    if (const auto reason = why_not_preloaded(*path)) throw failure{failure::cannot_be_run, *reason};
  ::execvp(*command, command);
  const int error = errno;
  throw failure{error == ENOENT ? failure::not_found : failure::cannot_be_run, name + ": " + std::strerror(error)};
}

int print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  if (std::fflush(stdout) != 0) throw failure{failure::of_doorbell_run, std::strerror(errno)};
  return EXIT_SUCCESS;
}

int run(int argc, char** argv) {
  const options asked = parse(argc, argv);
  if (asked.help) return print(usage);
  if (asked.version) return print("doorbell-run " DOORBELL_VERSION_STRING "\n");
  if (asked.check) {
    const auto found = check(*asked.command, library("libaio.so.1"), asked.with_syscall);
    print(found.text);
    return found.status;
  }
  if (asked.stats) preload(library("libdoorbell-exit.so"));
  preload(library("libaio.so.1"));
  if (asked.with_syscall) preload(library("libdoorbell-syscall.so"));
  if (asked.engine) set("DOORBELL_ENGINE", *asked.engine);
  if (asked.stats) {
    set("DOORBELL_STATS", *asked.stats);
    set("DOORBELL_STATS_PROCESS", std::to_string(::getpid()));
  }
  if (asked.stats_file) set("DOORBELL_STATS_FILE", *asked.stats_file);
  become(asked.command);
}

}  // namespace
}  // namespace doorbell::run

int main(int argc, char** argv) {
  try {
    return doorbell::run::run(argc, argv);
  } catch (const doorbell::run::failure& failed) {
    std::fprintf(stderr, "doorbell-run: %s\n", failed.what());
    return failed.status();
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "doorbell-run: %s\n", failed.what());
    return doorbell::run::failure::of_doorbell_run;
  }
}
