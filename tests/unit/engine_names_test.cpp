// SPDX-License-Identifier: Apache-2.0
//
// The places that list the engines for users and for tests list each engine of engine_kind.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "../../aio/engine/engine_names.hpp"
#include "support/child.hpp"

namespace {

namespace aio = doorbell::aio;

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (int number = 1; number <= aio::engine_count; ++number)
    all.emplace_back(names_of(static_cast<aio::engine_kind>(number)).name);
  return all;
}

std::string document(const std::string& name) {
  std::ifstream file{DOCUMENTS "/" + name};
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>{file}, {}};
}

TEST(engine_names, select_their_engine) {
  for (int number = 1; number <= aio::engine_count; ++number) {
    const auto kind = static_cast<aio::engine_kind>(number);
    EXPECT_EQ(aio::engine_named(names_of(kind).name), kind);
  }
  EXPECT_EQ(aio::engine_named("uring"), aio::engine_kind::io_uring);
  EXPECT_EQ(aio::engine_named(""), std::nullopt);
  EXPECT_EQ(aio::engine_named("thread"), std::nullopt);
}

TEST(engine_names, are_in_the_message_about_an_unknown_name) {
  doorbell::test::in_child([] {
    ::setenv("DOORBELL_ENGINE", "none", 1);
    testing::internal::CaptureStderr();
    std::error_code ec;
    const aio::context ctx{8, ec};
    const auto message = testing::internal::GetCapturedStderr();
    for (const auto& name : names()) EXPECT_NE(message.find(" " + name), std::string::npos) << name << ": " << message;
  });
}

// In CMake, all_engines of tests/CMakeLists.txt.
TEST(engine_names, are_the_engines_that_tests_run_with) {
  std::istringstream list{ENGINES_OF_TESTS};
  EXPECT_EQ((std::vector<std::string>{std::istream_iterator<std::string>{list}, {}}), names());
}

TEST(engine_names, are_columns_of_each_table_of_engines) {
  std::istringstream text{document("aio.md")};
  int tables = 0;
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("| ") || line.find(" `io_uring` |") == std::string::npos) continue;
    ++tables;
    for (const auto& name : names()) EXPECT_NE(line.find(" `" + name + "` |"), std::string::npos) << line;
  }
  EXPECT_GE(tables, 2);
}

// The synopsis, the option --engine, and the variable DOORBELL_ENGINE.
TEST(engine_names, are_in_each_list_of_the_manual_page) {
  std::istringstream text{document("doorbell-run.1")};
  int lists = 0;
  for (std::string line; std::getline(text, line);) {
    if (line.find("uring") == std::string::npos || line.find(" threads ") == std::string::npos) continue;
    if (!line.starts_with(".")) continue;
    ++lists;
    for (int number = 1; number <= aio::engine_count; ++number) {
      const auto [name, alias] = names_of(static_cast<aio::engine_kind>(number));
      EXPECT_NE(line.find(" " + std::string{alias.empty() ? name : alias} + " "), std::string::npos) << line;
    }
  }
  EXPECT_EQ(lists, 3);
}

}  // namespace
