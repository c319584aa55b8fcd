// SPDX-License-Identifier: Apache-2.0
//
// Eventfds that one thread signals and an Asio loop waits for: doorbell's, and the kernel's in a stream_descriptor.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include <cstdint>
#include <utility>

#include <doorbell/asio/eventfd.hpp>
#include <doorbell/eventfd.hpp>

#include "kernel_eventfd.hpp"

namespace doorbell::bench {

class doorbell_channel {
 public:
  explicit doorbell_channel(boost::asio::io_context& io) : listener_{io, efd_} {}

  void signal() const { efd_.signal(); }
  /// Calls `heard` with each count that is read. Must be called by the loop's thread.
  template <class Heard>
  void listen(Heard heard) {
    listener_.async_read([this, heard](boost::system::error_code ec, std::uint64_t count) {
      if (ec) return;
      heard(count);
      listen(heard);
    });
  }

 private:
  eventfd efd_;
  asio::eventfd listener_;
};

class descriptor_channel {
 public:
  explicit descriptor_channel(boost::asio::io_context& io) : listener_{io, efd_.fd()} { listener_.non_blocking(true); }
  ~descriptor_channel() { listener_.release(); }
  descriptor_channel(const descriptor_channel&) = delete;
  descriptor_channel& operator=(const descriptor_channel&) = delete;

  void signal() const { efd_.signal(); }
  template <class Heard>
  void listen(Heard heard) {
    listener_.async_read_some(boost::asio::buffer(&count_, sizeof count_),
                              [this, heard](boost::system::error_code ec, std::size_t) {
                                if (ec) return;
                                heard(std::exchange(count_, 0));
                                listen(heard);
                              });
  }

 private:
  kernel_eventfd efd_;
  std::uint64_t count_ = 0;
  boost::asio::posix::stream_descriptor listener_;
};

}  // namespace doorbell::bench
