// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/asio/random_access_file.hpp>
#include <doorbell/asio/stream_file.hpp>

#include <unistd.h>

#include <cstddef>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include "support/files.hpp"

namespace doorbell::test {

/// Uses files once, so that the library creates the threads and descriptors that it then keeps.
inline void use_files_once() {
  boost::asio::io_context io;
  pipe_ends pipe;
  asio::stream_file reader{io, pipe.read.release()};
  asio::random_access_file file{io, temporary_file("text").release()};
  char byte = 0;
  reader.async_read_some(boost::asio::buffer(&byte, 1), [](boost::system::error_code, std::size_t) {});
  file.async_sync_all([](boost::system::error_code) {});
  io.poll();
  if (::write(pipe.write.get(), "x", 1) != 1) return;
  io.run();
}

}  // namespace doorbell::test
