// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target with existing inputs, without libFuzzer: corpora and crashes as ordinary tests.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "target.hpp"

namespace {

namespace fs = std::filesystem;

/// The time limit of one input, which takes milliseconds. SIGALRM ends the program after it.
constexpr unsigned patience_in_seconds = 50;

// In the same order on all systems.
std::vector<fs::path> files_at(const fs::path& place) {
  if (!fs::is_directory(place)) return {place};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator{place}) files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

bool replay(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
  if (!file) return false;
  // Printed before the run: the last path printed is that of the input that crashes.
  std::cout << path.string() << std::endl;  // NOLINT(performance-avoid-endl)
  ::alarm(patience_in_seconds);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  ::alarm(0);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t inputs = 0;
  for (int at = 1; at < argc; ++at) {
    for (const auto& path : files_at(argv[at])) {
      if (!replay(path)) {
        std::cerr << "cannot read " << path << '\n';
        return 1;
      }
      ++inputs;
    }
  }
  if (inputs == 0) {
    std::cerr << "usage: " << argv[0] << " FILE-OR-FOLDER...\nRuns the target once with each file.\n";
    return 2;
  }
  std::cout << inputs << " inputs\n";
}
