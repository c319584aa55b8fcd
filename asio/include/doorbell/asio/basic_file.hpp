// SPDX-License-Identifier: Apache-2.0
//
// basic_file: the common part of random_access_file and stream_file: opening, closing, sizes and syncs. Names, flags,
// signatures and errors are those of Boost.Asio's own files (docs/asio.md, "Files, member by member"). In addition,
// open() accepts any flags of open(2) (file_base::read_only | O_DIRECT), and there are async_sync_all() and
// async_sync_data(). Files are opened with O_CLOEXEC.
//
// Members that take an error_code& return the same type as Boost.Asio's: BOOST_ASIO_SYNC_OP_VOID. This is error_code,
// with the value of the argument; it is void if BOOST_ASIO_NO_DEPRECATED is defined.
//
// Each execution context has one aio::context, on the engine that the process uses (docs/aio.md). Operations complete
// in the threads that run the loop. With the io_uring engine, no other thread takes part.
//
// Handlers are called from the executor, never inside the initiating function, with one exception: if the initiating
// function refuses the operation, if there is nothing to transfer, or if it is a read of a file whose bytes are in
// memory, a handler that is bound to an immediate executor (boost::asio::bind_immediate_executor, Boost 1.82 and later)
// is submitted to that executor. Each call of run_one() or poll_one() calls one handler at most. Associated executors,
// allocators and cancellation slots are honoured. A slot accepts every type of cancellation: a cancelled operation has
// had no effect and ends with operation_aborted; an operation that can no longer be stopped ends with its result
// (docs/aio.md, "Requests that a cancel can stop").
//
// Thread safety: distinct objects may be used concurrently. One object may be used only from one implicit or explicit
// strand, except that blocking reads and writes at offsets may run concurrently. Any number of operations may be
// outstanding. Each has its own buffers, which stay valid until its handler has been called or destroyed.
//
// Lifetime: the object is usually destroyed before its execution context, or by the shutdown of that context, but it
// may outlive the context. It can then still be used by blocking calls, released, closed and destroyed. An asynchronous
// operation on such a file is not started: its handler is destroyed without being called. The descriptor is closed when
// no operation uses it any more: close() cancels, and if operations cannot be stopped, the last of them closes the
// descriptor. The shutdown of the execution context waits for the requests that cannot be stopped, and then destroys
// the handlers.
//
// In callbacks of notifiers: members that do not block may be called. Only members documented as blocking block. The
// execution context must not be destroyed in a callback.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/detail/config.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/error_code.hpp>

#include <doorbell/asio/detail/file/file_op.hpp>
#include <doorbell/asio/detail/file/file_service.hpp>
#include <doorbell/asio/detail/file/open_file.hpp>
#include <doorbell/asio/detail/support/context_of.hpp>
#include <doorbell/asio/detail/support/errors.hpp>
#include <doorbell/asio/detail/support/immediate.hpp>
#include <doorbell/asio/detail/support/slot_canceller.hpp>
#include <doorbell/asio/file_base.hpp>

namespace doorbell::asio {

template <class Executor = boost::asio::any_io_executor>
class basic_file : public file_base {
 public:
  using executor_type = Executor;
  using native_handle_type = int;
  using error_code = boost::system::error_code;

  template <class Other>
  struct rebind_executor {
    using other = basic_file<Other>;
  };

  /// Not open.
  explicit basic_file(const executor_type& executor) : basic_file{executor, detail::file_access::random} {}
  /// Opens a file. Errors: as open().
  explicit basic_file(const executor_type& executor, const path_name& path, native_flags how) : basic_file{executor} {
    open(path, how);
  }
  /// Takes ownership of a descriptor. Errors: as assign().
  basic_file(const executor_type& executor, const native_handle_type& native_file) : basic_file{executor} {
    assign(native_file);
  }

  /// As above, with the executor of an execution context.
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  explicit basic_file(Context& context) : basic_file{executor_of(context)} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  explicit basic_file(Context& context, const path_name& path, native_flags how)
      : basic_file{executor_of(context), path, how} {}
  template <class Context>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  basic_file(Context& context, const native_handle_type& native_file) : basic_file{executor_of(context), native_file} {}

  basic_file(const basic_file&) = delete;
  basic_file& operator=(const basic_file&) = delete;

  /// Outstanding operations move to the new object. The moved-from object is closed and keeps its executor.
  basic_file(basic_file&& other) noexcept : basic_file{other.executor_, other.access_, std::move(other.file_)} {}
  /// Closes the file of this object first.
  basic_file& operator=(basic_file&& other) noexcept {
    if (this == &other) return *this;
    std::ignore = try_close();
    executor_ = other.executor_;
    file_ = std::move(other.file_);
    return *this;
  }
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) basic_file(basic_file<Other>&& other) noexcept
      : basic_file{executor_type{other.executor_}, other.access_, std::move(other.file_)} {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  basic_file& operator=(basic_file<Other>&& other) noexcept {
    *this = basic_file{std::move(other)};
    return *this;
  }

  [[nodiscard]] const executor_type& get_executor() noexcept { return executor_; }

  /// Opens a file. A file that is created has mode 0777, less the umask.
  /// Errors: already_open; those of open(2).
  void open(const path_name& path, native_flags how) { detail::throw_if(try_open(path, how), "open"); }
  BOOST_ASIO_SYNC_OP_VOID open(const path_name& path, native_flags how, error_code& ec) {
    ec = try_open(path, how);
    BOOST_ASIO_SYNC_OP_VOID_RETURN(ec);
  }

  /// Takes ownership of a descriptor. O_DIRECT may be set on it, but must not be changed after this call.
  /// Errors: already_open, bad_descriptor.
  void assign(const native_handle_type& native_file) { detail::throw_if(try_assign(native_file), "assign"); }
  BOOST_ASIO_SYNC_OP_VOID assign(const native_handle_type& native_file, error_code& ec) {
    ec = try_assign(native_file);
    BOOST_ASIO_SYNC_OP_VOID_RETURN(ec);
  }

  [[nodiscard]] bool is_open() const noexcept { return file_ != nullptr; }

  /// Cancels all operations and closes the descriptor. If operations cannot be stopped, the last of them closes the
  /// descriptor instead. May block as close(2) does.
  /// Errors: those of close(2), if this call closes the descriptor. None if the file is not open.
  void close() { detail::throw_if(try_close(), "close"); }
  BOOST_ASIO_SYNC_OP_VOID close(error_code& ec) {
    ec = try_close();
    BOOST_ASIO_SYNC_OP_VOID_RETURN(ec);
  }

  /// Cancels all operations and transfers ownership of the descriptor to the caller. The caller keeps the descriptor
  /// open until the handlers of the outstanding operations have been called. @return -1 if the file is not open.
  native_handle_type release() {
    error_code ec;
    return release(ec);
  }
  native_handle_type release(error_code& ec) {
    ec = {};
    const auto file = std::exchange(file_, nullptr);
    if (file == nullptr) return -1;
    auto* const service = file->service();
    if (service == nullptr) return file->release();
    service->cancel(*file);
    return service->release(*file);
  }

  /// The descriptor; -1 if the file is not open.
  [[nodiscard]] native_handle_type native_handle() const noexcept { return is_open() ? file_->descriptor() : -1; }

  /// Ends the outstanding operations, with operation_aborted if the engine can stop them. Does not block.
  /// Errors: bad_descriptor.
  void cancel() { detail::throw_if(try_cancel(), "cancel"); }
  BOOST_ASIO_SYNC_OP_VOID cancel(error_code& ec) {
    ec = try_cancel();
    BOOST_ASIO_SYNC_OP_VOID_RETURN(ec);
  }

  /// The size in bytes. Errors: bad_descriptor; those of fstat(2).
  [[nodiscard]] std::uint64_t size() const {
    error_code ec;
    const auto bytes = size(ec);
    detail::throw_if(ec, "size");
    return bytes;
  }
  [[nodiscard]] std::uint64_t size(error_code& ec) const {
    struct stat about{};
    ec = error_of(::fstat(native_handle(), &about));
    return ec ? 0 : static_cast<std::uint64_t>(about.st_size);
  }

  /// Sets the size. Errors: those of ftruncate(2).
  void resize(std::uint64_t bytes) { detail::throw_if(try_resize(bytes), "resize"); }
  BOOST_ASIO_SYNC_OP_VOID resize(std::uint64_t bytes, error_code& ec) {
    ec = try_resize(bytes);
    BOOST_ASIO_SYNC_OP_VOID_RETURN(ec);
  }

  /// Writes the file's modified data and metadata to the disk. Blocks. Errors: those of fsync(2).
  void sync_all() { detail::throw_if(try_sync_all(), "sync_all"); }
  BOOST_ASIO_SYNC_OP_VOID sync_all(error_code& ec) {
    ec = try_sync_all();
    BOOST_ASIO_SYNC_OP_VOID_RETURN(ec);
  }

  /// Writes the file's modified data to the disk, and only the metadata needed to read the data back. Blocks.
  /// Errors: those of fdatasync(2).
  void sync_data() { detail::throw_if(try_sync_data(), "sync_data"); }
  BOOST_ASIO_SYNC_OP_VOID sync_data(error_code& ec) {
    ec = try_sync_data();
    BOOST_ASIO_SYNC_OP_VOID_RETURN(ec);
  }

  /// As sync_all(), without blocking. Not ordered with outstanding writes: it covers the writes that had completed when
  /// it was started.
  /// @param token of signature void(error_code): errors of fsync(2), operation_aborted, bad_descriptor.
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                SyncToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_sync_all(SyncToken&& token = {}) {
    return boost::asio::async_initiate<SyncToken, void(error_code)>(sync_initiation{*this}, token, aio::opcode::fsync);
  }
  /// As async_sync_all(), with the effect of sync_data().
  template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(boost::system::error_code))
                SyncToken = boost::asio::default_completion_token_t<executor_type>>
  auto async_sync_data(SyncToken&& token = {}) {
    return boost::asio::async_initiate<SyncToken, void(error_code)>(sync_initiation{*this}, token, aio::opcode::fdsync);
  }

 protected:
  basic_file(const executor_type& executor, detail::file_access access) : basic_file{executor, access, nullptr} {}

  /// Closes the file and ignores errors.
  ~basic_file() { std::ignore = try_close(); }

  template <class Context>
  [[nodiscard]] static executor_type executor_of(Context& context) {
    return executor_type{context.get_executor()};
  }

  /// Initiates reads or writes, with the signature void(error_code, std::size_t).
  /// @tparam Buffer mutable_buffer or const_buffer.
  template <detail::file_use Use, class Buffer>
  class transfer_initiation {
   public:
    using executor_type = basic_file::executor_type;

    explicit transfer_initiation(basic_file& self) noexcept : self_{&self} {}
    [[nodiscard]] executor_type get_executor() const noexcept { return self_->executor_; }

    template <class Handler, class Buffers>
    void operator()(Handler&& handler, std::uint64_t offset, const Buffers& buffers) const {
      self_->template start<Use, detail::buffers_in<Buffers>>(
          std::forward<Handler>(handler), boost::asio::buffer_size(buffers) == 0, [&](auto& op, int fd) {
            const auto vectors = detail::fill<Buffer>(op.vectors(), buffers);
            detail::ask_for_transfer(op.request(), Use == detail::file_use::reads, fd, vectors);
            op.set_offset(offset);
          });
    }

   private:
    basic_file* self_;
  };

  [[nodiscard]] bool check_open(error_code& ec) const noexcept { return detail::check_open(is_open(), ec); }
  [[nodiscard]] detail::open_file* file() const noexcept { return file_.get(); }

 private:
  template <class Other>
  friend class basic_file;

  basic_file(executor_type executor, detail::file_access access, std::shared_ptr<detail::open_file>&& file) noexcept
      : executor_{std::move(executor)}, access_{access}, file_{std::move(file)} {}

  class sync_initiation {
   public:
    using executor_type = basic_file::executor_type;

    explicit sync_initiation(basic_file& self) noexcept : self_{&self} {}
    [[nodiscard]] executor_type get_executor() const noexcept { return self_->executor_; }

    template <class Handler>
    void operator()(Handler&& handler, aio::opcode which) const {
      self_->template start<detail::file_use::syncs, 0>(std::forward<Handler>(handler), false,
                                                        [which](auto& op, int fd) {
                                                          op.request().lio_opcode = static_cast<std::uint16_t>(which);
                                                          op.request().fildes = fd;
                                                        });
    }

   private:
    basic_file* self_;
  };

  [[nodiscard]] static error_code error_of(int answer) noexcept {
    return answer == 0 ? error_code{} : detail::last_error();
  }

  [[nodiscard]] error_code try_open(const path_name& path, native_flags how) {
    if (is_open()) return boost::asio::error::already_open;
    constexpr mode_t mode = 0777;
    base::unique_fd opened{::open(path.c_str(), how.value() | O_CLOEXEC, mode)};
    if (!opened) return detail::last_error();
    // Advisory: errors are ignored.
    ::posix_fadvise(opened.get(), 0, 0, is_stream() ? POSIX_FADV_SEQUENTIAL : POSIX_FADV_RANDOM);
    const auto refused = try_assign(opened.get());
    if (!refused) static_cast<void>(opened.release());
    return refused;
  }
  [[nodiscard]] error_code try_assign(native_handle_type native_file) {
    if (is_open()) return boost::asio::error::already_open;
    std::error_code refused;
    const auto facts = aio::file_facts::look_up(native_file, refused);
    if (refused) return {refused.value(), boost::system::system_category()};
    auto& service = boost::asio::use_service<detail::file_service>(detail::context_of(executor_));
    // equivalent fault (call): without a loop, file_service posts through its poster_, which takes longer
    service.set_loop(detail::loop_of(executor_));
    file_ = std::make_shared<detail::open_file>(service.link(), native_file, facts, access_);
    return {};
  }
  [[nodiscard]] error_code try_close() {
    error_code ec;
    const auto file = std::exchange(file_, nullptr);
    if (file == nullptr) return ec;
    auto* const service = file->service();
    if (service != nullptr) service->cancel(*file);
    if (service == nullptr || service->is_idle(*file)) file->close(ec);
    return ec;
  }
  [[nodiscard]] error_code try_cancel() {
    error_code ec;
    if (check_open(ec) && file_->service() != nullptr) file_->service()->cancel(*file_);
    return ec;
  }
  [[nodiscard]] error_code try_resize(std::uint64_t bytes) noexcept {
    return error_of(::ftruncate(native_handle(), static_cast<off_t>(bytes)));
  }
  [[nodiscard]] error_code try_sync_all() noexcept { return error_of(::fsync(native_handle())); }
  [[nodiscard]] error_code try_sync_data() noexcept { return error_of(::fdatasync(native_handle())); }

  /// @param asks_for_nothing whether the operation has no bytes to transfer.
  template <detail::file_use Use, std::size_t Vectors, class Handler, class Prepare>
  void start(Handler&& handler, bool asks_for_nothing, Prepare prepare) {
    using handler_type = std::decay_t<Handler>;
    if (is_open() && file_->service() == nullptr) return;  // no loop is left to call the handler
    error_code ec;
    const bool is_over = !check_possible<Use>(asks_for_nothing, ec) || asks_for_nothing;
    if constexpr (detail::has_immediate_executor<handler_type>) {
      const auto now = is_over ? std::optional{detail::file_result{ec}} : try_inline<Use, Vectors>(prepare);
      using completion = detail::file_completion<Use, handler_type>;
      if (now)
        return detail::dispatch_immediately(
            executor_, completion{handler_type(std::forward<Handler>(handler)), now->ec, now->bytes});
    }
    using op_type = detail::file_op_for<Use, Vectors, handler_type, executor_type>;
    // An operation that has ended already must not replace the function object of waiting operations in the slot.
    // Besides, file_ may be null.
    const auto key =
        is_over ? 0 : detail::connect_to_slot(boost::asio::get_associated_cancellation_slot(handler), file_);
    auto& op = op_type::make(std::forward<Handler>(handler), executor_, key);
    if (is_over) {
      op.fail(ec);
      return op.post();
    }
    prepare(op, file_->descriptor());
    op.request().set_file(file_->facts());
    op.file = file_.get();
    file_->service()->start(op);
  }

  template <detail::file_use Use>
  [[nodiscard]] bool check_possible(bool asks_for_nothing, error_code& ec) const noexcept {
    if (!check_open(ec)) return false;
    // The error of read(2); io_submit(2) would report EINVAL.
    if (Use == detail::file_use::reads && file_->is_directory() && !asks_for_nothing)
      ec = {EISDIR, boost::system::system_category()};
    return !ec;
  }

  /// Executes a read that does not wait. @return nothing if the operation is no such read; it has then had no effect.
  template <detail::file_use Use, std::size_t Vectors, class Prepare>
  [[nodiscard]] std::optional<detail::file_result> try_inline(Prepare prepare) {
    if constexpr (Use == detail::file_use::reads) {
      detail::inline_read<Vectors> read;
      prepare(read, file_->descriptor());
      read.request().set_file(file_->facts());
      if (const auto res = file_->service()->read_inline(*file_, read.request()))
        return detail::result_of(Use, *res, false);
    }
    return std::nullopt;
  }

  [[nodiscard]] bool is_stream() const noexcept { return access_ == detail::file_access::stream; }

  executor_type executor_;
  detail::file_access access_;  // of the class derived from this one: an assignment does not change it
  std::shared_ptr<detail::open_file> file_;
};

}  // namespace doorbell::asio
