// SPDX-License-Identifier: Apache-2.0
//
// Rules that end the program when they are broken: what is written to standard error before that.
#include <doorbell/base/fatal.hpp>

#include <gtest/gtest.h>

#include <csignal>

namespace {

TEST(fatal, writes_the_rule_and_the_document_as_one_line_and_aborts) {
  EXPECT_EXIT(doorbell::base::fatal("a rule was broken", "docs/some.md, A section"), testing::KilledBySignal(SIGABRT),
              "^doorbell: a rule was broken \\(docs/some.md, A section\\)\n");
}

}  // namespace
