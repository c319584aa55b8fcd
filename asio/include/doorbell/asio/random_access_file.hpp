// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::random_access_file: a file that is read and written at offsets, as boost::asio::random_access_file
// is. See basic_file.hpp for the members that it shares with stream_file, thread safety and lifetime.
//
//   random_access_file in{io, "data", file_base::read_only | O_DIRECT};
//   auto n = co_await in.async_read_some_at(4096, boost::asio::buffer(block), boost::asio::use_awaitable);
//
// The type meets the requirements of AsyncRandomAccessReadDevice and AsyncRandomAccessWriteDevice:
// boost::asio::async_read_at, async_write_at, read_at and write_at accept it. Operations on one object run concurrently
// and complete in any order; their number is not limited.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <doorbell/asio/basic_file.hpp>
#include <doorbell/asio/detail/file/file_blocking.hpp>

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

  /// Opens a file. Errors: as open().
  basic_random_access_file(const executor_type& executor, const path_name& path, native_flags how)
      : basic_random_access_file{executor} {
    this->open(path, how);
  }

  /// Takes ownership of a descriptor. Errors: as assign().
  basic_random_access_file(const executor_type& executor, const native_handle_type& native_file)
      : basic_random_access_file{executor} {
    this->assign(native_file);
  }

  /// As above, with the executor of an execution context.
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

  /// Outstanding operations move to the new object. The moved-from object is closed and keeps its executor.
  basic_random_access_file(basic_random_access_file&& other) noexcept = default;
  /// Closes the file of this object first.
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

  /// Reads at most the size of the buffers, from `offset` bytes after the start of the file. Blocks.
  /// @return the number of bytes read, which may be smaller at the end of the file.
  /// Errors: eof if there was no byte to read; bad_descriptor; those of preadv(2).
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

  /// Writes the buffers at `offset` bytes after the start of the file. Blocks.
  /// @return the number of bytes written, which may be smaller than the size of the buffers.
  /// Errors: bad_descriptor; those of pwritev(2).
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

  /// Reads at most the size of the buffers, from `offset` bytes after the start of the file. Of a sequence of buffers,
  /// the first 64 that are not empty are used. If all buffers are empty, completes with 0 bytes and no error.
  /// @param token of signature void(error_code, std::size_t): the number of bytes read, which may be smaller at the end
  /// of the file; eof if there was no byte to read; operation_aborted; bad_descriptor; errors of preadv(2).
  template <class MutableBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                      ReadToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_read_some_at(std::uint64_t offset, const MutableBuffers& buffers, ReadToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::reads, boost::asio::mutable_buffer>;
    return boost::asio::async_initiate<ReadToken, void(error_code, std::size_t)>(initiation{*this}, token, offset,
                                                                                 buffers);
  }

  /// Writes the buffers at `offset` bytes after the start of the file. Of a sequence of buffers, the first 64 that are
  /// not empty are used.
  /// @param token of signature void(error_code, std::size_t): the number of bytes written, which may be smaller than
  /// the size of the buffers; operation_aborted; bad_descriptor; errors of pwritev(2).
  template <class ConstBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                    WriteToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_write_some_at(std::uint64_t offset, const ConstBuffers& buffers, WriteToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::writes, boost::asio::const_buffer>;
    return boost::asio::async_initiate<WriteToken, void(error_code, std::size_t)>(initiation{*this}, token, offset,
                                                                                  buffers);
  }
};

/// With any_io_executor, the default executor type.
using random_access_file = basic_random_access_file<>;

}  // namespace doorbell::asio
