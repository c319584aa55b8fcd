// SPDX-License-Identifier: Apache-2.0
//
// The file behind a program's name, and whether the dynamic linker will preload a library into it. If it does not, it
// prints no message, and the program would run on the kernel's AIO unnoticed.
#pragma once

#include <optional>
#include <string>

namespace doorbell::run {

/// The file that execvp(3) would run; nullopt if there is none.
std::optional<std::string> find_program(const std::string& name);

/// The program that runs the file at `path`: the interpreter of a script, otherwise the file itself.
std::string program_behind(const std::string& path);

/// The reason why no library can be preloaded into the program at `path`, or into the interpreter of a script. nullopt
/// if one can, or if execve(2) will report an error anyway.
std::optional<std::string> why_not_preloaded(const std::string& path);

}  // namespace doorbell::run
