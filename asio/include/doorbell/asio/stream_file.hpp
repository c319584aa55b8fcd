// SPDX-License-Identifier: Apache-2.0
//
// doorbell::asio::stream_file: a file that is read and written one piece after the other, as boost::asio::stream_file is; see
// basic_file.hpp for what it shares with random_access_file, thread safety and lifetime among it.
//
// The position is the object's. It begins where the descriptor's is; the descriptor's own stays behind until release(). Reads and
// writes that are outstanding at once go one after the other, in the order they were started. With file_base::append writes go
// to the end of the file, and the position after them.
//
// What has no position, as a pipe, is read and written in order as well, each direction by itself.
//
// It is an AsyncReadStream and AsyncWriteStream: boost::asio::async_read, async_write, async_read_until, read and write take it.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <doorbell/asio/basic_file.hpp>
#include <doorbell/asio/detail/file_blocking.hpp>

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

  /// Opens. Errors: as open().
  basic_stream_file(const executor_type& executor, const path_name& path, native_flags how)
      : basic_stream_file{executor} {
    this->open(path, how);
  }

  /// Takes a descriptor over. Errors: as assign().
  basic_stream_file(const executor_type& executor, const native_handle_type& native_file)
      : basic_stream_file{executor} {
    this->assign(native_file);
  }

  /// The same for the executor of an execution context.
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

  /// Outstanding operations move along. The other object is closed then, and keeps its executor.
  basic_stream_file(basic_stream_file&& other) noexcept = default;
  /// Closes what was here.
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

  /// Moves the position, by so many bytes from the beginning, from where it is, or from the end.
  /// @return bytes from the beginning. Errors: bad_descriptor, invalid_argument (before the beginning), what lseek(2) says.
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

  /// Reads, up to the buffers' size, from the position on, and moves it. Blocks.
  /// @return bytes: fewer at the end of the file. Errors: eof, with none; bad_descriptor; what preadv(2) says.
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

  /// Writes from the position on, and moves it. Blocks.
  /// @return bytes: perhaps not all. Errors: bad_descriptor; what pwritev(2) says.
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

  /// Reads, up to the buffers' size (of a sequence the first 64 that are not empty), from the position on, and moves it.
  /// @param token of signature void(error_code, std::size_t): bytes, fewer at the end of the file; eof, with none;
  /// operation_aborted; bad_descriptor; what preadv(2) says. Nothing asked for is read at once, without an error.
  template <class MutableBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                      ReadToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_read_some(const MutableBuffers& buffers, ReadToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::reads, boost::asio::mutable_buffer>;
    return boost::asio::async_initiate<ReadToken, void(error_code, std::size_t)>(initiation{*this}, token,
                                                                                 std::uint64_t{0}, buffers);
  }

  /// Writes them. @param token of signature void(error_code, std::size_t): bytes, perhaps not all; operation_aborted;
  /// bad_descriptor; what pwritev(2) says.
  template <class ConstBuffers, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code, std::size_t))
                                    WriteToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_write_some(const ConstBuffers& buffers, WriteToken&& token = {}) {
    using initiation =
        typename base_type::template transfer_initiation<detail::file_use::writes, boost::asio::const_buffer>;
    return boost::asio::async_initiate<WriteToken, void(error_code, std::size_t)>(initiation{*this}, token,
                                                                                  std::uint64_t{0}, buffers);
  }
};

/// The one for everyday use.
using stream_file = basic_stream_file<>;

}  // namespace doorbell::asio
