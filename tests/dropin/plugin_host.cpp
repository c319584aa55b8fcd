// SPDX-License-Identifier: Apache-2.0
//
// plugin_host PLUGIN LIBAIO: repeatedly loads the plugin, calls it to do I/O, and unloads it. LIBAIO is the library
// that the plugin must have loaded; it must stay loaded, because its threads continue.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "support/files.hpp"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  const char* const error = ::dlerror();
  std::fprintf(stderr, "FAILED: %s: %s\n", what, error != nullptr ? error : "no error of the dynamic linker");
  std::exit(EXIT_FAILURE);
}

void load_and_unload(const char* plugin_path, const char* library_path) {
  const auto file = doorbell::test::temporary_file();
  for (int round = 0; round < 3; ++round) {
    void* const plugin = ::dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
    require(plugin != nullptr, "dlopen of the plugin");
    using entry = bool (*)(int);
    const auto write_and_read_back = reinterpret_cast<entry>(::dlsym(plugin, "write_and_read_back"));
    require(write_and_read_back != nullptr, "dlsym");
    require(write_and_read_back(file.get()), "the plugin reads the bytes that it has written");
    require(::dlclose(plugin) == 0, "dlclose of the plugin");
    require(::dlopen(plugin_path, RTLD_NOW | RTLD_NOLOAD) == nullptr, "the plugin is unloaded");
    require(::dlopen(library_path, RTLD_NOW | RTLD_NOLOAD) != nullptr, "the library stays loaded");
  }
}

}  // namespace

int main(int, char** argv) {
  try {
    load_and_unload(argv[1], argv[2]);
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "FAILED: %s\n", failed.what());
    return EXIT_FAILURE;
  }
}
