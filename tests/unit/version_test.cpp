// SPDX-License-Identifier: Apache-2.0
#include <doorbell/version.hpp>

#include <gtest/gtest.h>

#include <string>

namespace {

#if DOORBELL_VERSION < 100 || DOORBELL_VERSION_MAJOR > 99
#error "version.hpp cannot be used in #if"
#endif

TEST(version, numbers_string_and_integer_agree) {
  EXPECT_EQ(DOORBELL_VERSION_STRING, std::to_string(DOORBELL_VERSION_MAJOR) + "." +
                                         std::to_string(DOORBELL_VERSION_MINOR) + "." +
                                         std::to_string(DOORBELL_VERSION_PATCH));
  EXPECT_EQ(DOORBELL_VERSION / 10000, DOORBELL_VERSION_MAJOR);
  EXPECT_EQ(DOORBELL_VERSION / 100 % 100, DOORBELL_VERSION_MINOR);
  EXPECT_EQ(DOORBELL_VERSION % 100, DOORBELL_VERSION_PATCH);
}

TEST(version, linked_library_has_the_version_of_its_headers) {
  EXPECT_EQ(doorbell::library_version(), DOORBELL_VERSION);
  EXPECT_STREQ(doorbell::library_version_string(), DOORBELL_VERSION_STRING);
}

}  // namespace
