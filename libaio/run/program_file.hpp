// SPDX-License-Identifier: Apache-2.0
//
// The file behind a program's name, and whether the dynamic linker will put another library into it: it is silent
// when it does not, and the program would run on the kernel's AIO with nobody noticing.
#pragma once

#include <optional>
#include <string>

namespace doorbell::run {

/// The file that execvp(3) would run, or none.
std::optional<std::string> find_program(const std::string& name);

/// The program that runs the file at `path`: of a script its interpreter, else the file itself.
std::string program_behind(const std::string& path);

/// Why nothing can be preloaded into the program at `path`; of a script, into its interpreter. None: it can, or there
/// is something about it that execve(2) will say.
std::optional<std::string> why_not_preloaded(const std::string& path);

}  // namespace doorbell::run
