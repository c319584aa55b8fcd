// SPDX-License-Identifier: Apache-2.0
//
// fatal() ends the program when a rule is broken. Before that, it writes a message to standard error.
#include <doorbell/base/fatal.hpp>

#include <gtest/gtest.h>

#include <csignal>

namespace {

TEST(fatal, writes_the_rule_and_the_document_as_one_line_and_aborts) {
  EXPECT_EXIT(doorbell::base::fatal("a rule was broken", "docs/some.md, A section"), testing::KilledBySignal(SIGABRT),
              "^doorbell: a rule was broken \\(docs/some.md, A section\\)\n");
}

}  // namespace
