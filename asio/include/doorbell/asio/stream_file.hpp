// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::stream_file: a file that is read and written sequentially, as boost::asio::stream_file is. See
// basic_file.hpp for the members that it shares with random_access_file, thread safety and lifetime.
//
// The position belongs to the object. It starts at the position of the descriptor. Reads and writes do not advance the
// position of the descriptor; release() sets it. Outstanding reads and writes run one after the other, in the order in
// which they were started. With file_base::append, writes go to the end of the file, and the position moves behind
// them.
//
// Reads of a file without a position, such as a pipe, also run one after the other, and so do its writes. But no read
// waits for a write, and no write for a read.
//
// The type meets the requirements of AsyncReadStream and AsyncWriteStream: boost::asio::async_read, async_write,
// async_read_until, read and write accept it.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <doorbell/asio/basic_file.hpp>
#include <doorbell/asio/detail/file/file_blocking.hpp>

namespace doorbell::asio {

template <class Executor = boost::asio::any_io_executor>
class basic_stream_file : public basic_file<Executor> {
  using base_type = basic_file<Executor>;

 public:
  using typename base_type::error_code;
  using typename base_type::executor_type;
  using typename base_type::native_flags;
  using typename base_type::native_handle_type;
  using typename base_type::path_name;

  template <class Other>
  struct rebind_executor {
    using other = basic_stream_file<Other>;
  };

  /// Not open.
  explicit basic_stream_file(const executor_type& executor) : base_type{executor, detail::file_access::stream} {}

  /// Opens a file. Errors: as open().
  basic_stream_file(const executor_type& executor, const path_name& path, native_flags how)
      : basic_stream_file{executor} {
    this->open(path, how);
  }

  /// Takes ownership of a descriptor. Errors: as assign().
  basic_stream_file(const executor_type& executor, const native_handle_type& native_file)
      : basic_stream_file{executor} {
    this->assign(native_file);
  }

  /// As above, with the executor of an execution context.
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  explicit basic_stream_file(Context& context) : basic_stream_file{base_type::executor_of(context)} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_stream_file(Context& context, const path_name& path, native_flags how)
      : basic_stream_file{base_type::executor_of(context), path, how} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_stream_file(Context& context, const native_handle_type& native_file)
      : basic_stream_file{base_type::executor_of(context), native_file} {}

  /// Outstanding operations move to the new object. The moved-from object is closed and keeps its executor.
  basic_stream_file(basic_stream_file&& other) noexcept = default;
  /// Closes the file of this object first.
  basic_stream_file& operator=(basic_stream_file&& other) noexcept = default;
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_stream_file(basic_stream_file<Other>&& other) noexcept : base_type{std::move(other)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  basic_stream_file& operator=(basic_stream_file<Other>&& other) noexcept {
    *this = basic_stream_file{std::move(other)};
    return *this;
  }
  ~basic_stream_file() = default;

  /// Sets the position to `offset` bytes after the start of the file, after the current position, or after the end.
  /// @return the new position, in bytes after the start.
  /// Errors: bad_descriptor; invalid_argument for a position before the start; those of lseek(2).
  std::uint64_t seek(std::int64_t offset, file_base::any_seek_basis whence) {
    error_code ec;
    const auto at = seek(offset, whence, ec);
    detail::throw_if(ec, "seek");
    return at;
  }
  std::uint64_t seek(std::int64_t offset, file_base::any_seek_basis whence, error_code& ec) {
    if (!base_type::check_open(ec)) return 0;
    return this->file()->seek(offset, whence.value(), ec);
  }

  /// Reads at most the size of the buffers, from the position, and advances the position. Blocks.
  /// @return the number of bytes read, which may be smaller at the end of the file.
  /// Errors: eof if there was no byte to read; bad_descriptor; those of preadv(2).
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers& buffers) {
    error_code ec;
    const auto bytes = read_some(buffers, ec);
    detail::throw_if(ec, "read_some");
    return bytes;
  }
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers& buffers, error_code& ec) {
    if (!base_type::check_open(ec)) return 0;
    const auto from = this->file()->offset();
    const auto bytes = detail::read_blocking(this->native_handle(), from, buffers, ec);
    if (from) this->file()->move_on(*from, bytes, false);
    return bytes;
  }

  /// Writes the buffers at the position, and advances the position. Blocks.
  /// @return the number of bytes written, which may be smaller than the size of the buffers.
  /// Errors: bad_descriptor; those of pwritev(2).
  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers) {
    error_code ec;
    const auto bytes = write_some(buffers, ec);
    detail::throw_if(ec, "write_some");
    return bytes;
  }
  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers, error_code& ec) {
    if (!base_type::check_open(ec)) return 0;
    const auto from = this->file()->offset();
    const auto bytes = detail::write_blocking(this->native_handle(), from, buffers, ec);
    if (from) this->file()->move_on(*from, bytes, true);
    return bytes;
  }

  /// Reads at most the size of the buffers, from the position, and advances the position. Of a sequence of buffers, the
  /// first 64 that are not empty are used. If all buffers are empty, completes with 0 bytes and no error.
  /// @param token of signature void(error_code, std::size_t): the number of bytes read, which may be smaller at the end
  /// of the file; eof if there was no byte to read; operation_aborted; bad_descriptor; errors of preadv(2).
  template <class MutableBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                      ReadToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_read_some(const MutableBuffers& buffers, ReadToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::reads, boost::asio::mutable_buffer>;
    return boost::asio::async_initiate<ReadToken, void(error_code, std::size_t)>(initiation{*this}, token,
                                                                                 std::uint64_t{0}, buffers);
  }

  /// Writes the buffers at the position, and advances the position. Of a sequence of buffers, the first 64 that are not
  /// empty are used.
  /// @param token of signature void(error_code, std::size_t): the number of bytes written, which may be smaller than
  /// the size of the buffers; operation_aborted; bad_descriptor; errors of pwritev(2).
  template <class ConstBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                    WriteToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_write_some(const ConstBuffers& buffers, WriteToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::writes, boost::asio::const_buffer>;
    return boost::asio::async_initiate<WriteToken, void(error_code, std::size_t)>(initiation{*this}, token,
                                                                                  std::uint64_t{0}, buffers);
  }
};

/// With any_io_executor, the default executor type.
using stream_file = basic_stream_file<>;

}  // namespace doorbell::asio
