// SPDX-License-Identifier: Apache-2.0
//
// For tests of one file or two: a loop, a pipe, and the error codes that handlers get.
#pragma once

#include <doorbell/asio.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include "support/files.hpp"

namespace doorbell::test {

class asio_file_object : public testing::Test {
 protected:
  boost::asio::io_context io_;
  pipe_ends pipe_;
  std::array<char, 8> room_{};
  std::vector<boost::system::error_code> told_;
  auto tell() {
    return [this](boost::system::error_code ec, std::size_t) { told_.push_back(ec); };
  }
};

}  // namespace doorbell::test
