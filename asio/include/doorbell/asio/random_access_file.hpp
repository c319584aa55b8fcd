// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::random_access_file: a file that is read and written at offsets, as boost::asio::random_access_file is; see
// basic_file.hpp for what it shares with stream_file, thread safety and lifetime among it.
//
//   random_access_file in{io, "data", file_base::read_only | O_DIRECT};
//   auto n = co_await in.async_read_some_at(4096, boost::asio::buffer(block), boost::asio::use_awaitable);
//
// It is an AsyncRandomAccessReadDevice and -WriteDevice: boost::asio::async_read_at, async_write_at, read_at and write_at take it.
// Any number of operations on one object are under way at once, in no order.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <doorbell/asio/basic_file.hpp>
#include <doorbell/asio/detail/file_blocking.hpp>

namespace doorbell::asio {

template <class Executor = boost::asio::any_io_executor>
class basic_random_access_file : public basic_file<Executor> {
  using base_type = basic_file<Executor>;

 public:
  using typename base_type::error_code;
  using typename base_type::executor_type;
  using typename base_type::native_flags;
  using typename base_type::native_handle_type;
  using typename base_type::path_name;

  template <class Other>
  struct rebind_executor {
    using other = basic_random_access_file<Other>;
  };

  /// Not open.
  explicit basic_random_access_file(const executor_type& executor) : base_type{executor, detail::file_access::random} {}

  /// Opens. Errors: as open().
  basic_random_access_file(const executor_type& executor, const path_name& path, native_flags how)
      : basic_random_access_file{executor} {
    this->open(path, how);
  }

  /// Takes a descriptor over. Errors: as assign().
  basic_random_access_file(const executor_type& executor, const native_handle_type& native_file)
      : basic_random_access_file{executor} {
    this->assign(native_file);
  }

  /// The same for the executor of an execution context.
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  explicit basic_random_access_file(Context& context) : basic_random_access_file{base_type::executor_of(context)} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_random_access_file(Context& context, const path_name& path, native_flags how)
      : basic_random_access_file{base_type::executor_of(context), path, how} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_random_access_file(Context& context, const native_handle_type& native_file)
      : basic_random_access_file{base_type::executor_of(context), native_file} {}

  /// Outstanding operations move along. The other object is closed then, and keeps its executor.
  basic_random_access_file(basic_random_access_file&& other) noexcept = default;
  /// Closes what was here.
  basic_random_access_file& operator=(basic_random_access_file&& other) noexcept = default;
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_random_access_file(basic_random_access_file<Other>&& other) noexcept
      : base_type{std::move(other)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  basic_random_access_file& operator=(basic_random_access_file<Other>&& other) noexcept {
    *this = basic_random_access_file{std::move(other)};
    return *this;
  }
  ~basic_random_access_file() = default;

  /// Reads, up to the buffers' size, from `offset` bytes after the beginning. Blocks.
  /// @return bytes: fewer at the end of the file. Errors: eof, with none; bad_descriptor; what preadv(2) says.
  template <class MutableBuffers>
  std::size_t read_some_at(std::uint64_t offset, const MutableBuffers& buffers) {
    error_code ec;
    const auto bytes = read_some_at(offset, buffers, ec);
    detail::throw_if(ec, "read_some_at");
    return bytes;
  }
  template <class MutableBuffers>
  std::size_t read_some_at(std::uint64_t offset, const MutableBuffers& buffers, error_code& ec) {
    return detail::read_blocking(this->native_handle(), offset, buffers, ec);
  }

  /// Writes. Blocks. @return bytes: perhaps not all. Errors: bad_descriptor; what pwritev(2) says.
  template <class ConstBuffers>
  std::size_t write_some_at(std::uint64_t offset, const ConstBuffers& buffers) {
    error_code ec;
    const auto bytes = write_some_at(offset, buffers, ec);
    detail::throw_if(ec, "write_some_at");
    return bytes;
  }
  template <class ConstBuffers>
  std::size_t write_some_at(std::uint64_t offset, const ConstBuffers& buffers, error_code& ec) {
    return detail::write_blocking(this->native_handle(), offset, buffers, ec);
  }

  /// Reads, up to the buffers' size (of a sequence the first 64 that are not empty), from `offset` bytes after the beginning.
  /// @param token of signature void(error_code, std::size_t): bytes, fewer at the end of the file; eof, with none;
  /// operation_aborted; bad_descriptor; what preadv(2) says. Nothing asked for is read at once, without an error.
  template <class MutableBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                      ReadToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_read_some_at(std::uint64_t offset, const MutableBuffers& buffers, ReadToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::reads, boost::asio::mutable_buffer>;
    return boost::asio::async_initiate<ReadToken, void(error_code, std::size_t)>(initiation{*this}, token, offset,
                                                                                 buffers);
  }

  /// Writes them. @param token of signature void(error_code, std::size_t): bytes, perhaps not all; operation_aborted;
  /// bad_descriptor; what pwritev(2) says.
  template <class ConstBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                    WriteToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_write_some_at(std::uint64_t offset, const ConstBuffers& buffers, WriteToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::writes, boost::asio::const_buffer>;
    return boost::asio::async_initiate<WriteToken, void(error_code, std::size_t)>(initiation{*this}, token, offset,
                                                                                  buffers);
  }
};

/// The one for everyday use.
using random_access_file = basic_random_access_file<>;

}  // namespace doorbell::asio
