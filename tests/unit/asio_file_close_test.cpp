// SPDX-License-Identifier: Apache-2.0
//
// The end of a file: each way to end it, with each state of its operations. The tests check the errors that handlers
// get, whether the descriptor is closed by then, and the object's executor afterwards.
#include <doorbell/asio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include "asio_file_object.hpp"
#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"
#include "support/used_files.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::file_base;
using doorbell::asio::random_access_file;
using doorbell::asio::stream_file;
using doorbell::test::asio_file_object;
using doorbell::test::is_open;
using doorbell::test::nothing_left_behind;
using doorbell::test::pipe_ends;
using doorbell::test::unique_fd;
using net::error::operation_aborted;

enum class way { close, destruction, move_assignment, move_assignment_of_another_type, release, cancel };
constexpr std::array way_names{"close",   "destruction", "move_assignment", "move_assignment_of_another_type",
                               "release", "cancel"};

/// The state of the operations when the file ends.
enum class state { none, started, in_flight, in_flight_and_behind };
constexpr std::array state_names{"none", "started", "in_flight", "in_flight_and_behind"};

// The same call for both types of file.
void start_read(stream_file& file, net::mutable_buffer room, auto handler) { file.async_read_some(room, handler); }
void start_read(random_access_file& file, net::mutable_buffer room, auto handler) {
  file.async_read_some_at(0, room, handler);
}
using exact_executor = net::io_context::executor_type;
template <class File>
using exact = typename File::template rebind_executor<exact_executor>::other;

/// A file of a pipe that no writer writes to. Its reads end only when the file ends.
template <class File>
class ending_file {
 public:
  explicit ending_file(state when) {
    number_ = pipe_.read.get();
    file_.emplace(io_, pipe_.read.release());
    if (when == state::none) return;
    start();
    if (when == state::started) return;
    io_.poll();
    if (when == state::in_flight_and_behind) start();
  }

  void end(way how) {
    switch (how) {
      case way::close:
        return file_->close();
      case way::destruction:
        return file_.reset();
      case way::move_assignment: {
        File other{others_, ::dup(pipe_.write.get())};
        *file_ = std::move(other);
        EXPECT_FALSE(other.is_open());  // NOLINT(bugprone-use-after-move): the documentation says that it is closed
        EXPECT_EQ(other.get_executor(), net::any_io_executor{others_.get_executor()});
        return;
      }
      case way::move_assignment_of_another_type:
        *file_ = exact<File>{others_, ::dup(pipe_.write.get())};
        return;
      case way::release:
        released_.reset(file_->release());
        return;
      case way::cancel:
        return file_->cancel();
    }
  }

  // Oracle: the function that ends the file calls no handler; afterwards each handler is called once with
  // operation_aborted, and the loop has no work left. After release() and cancel() the descriptor stays open. Otherwise
  // it is closed after the last operation that uses it has ended, and not before.
  void expect_end(way how) {
    EXPECT_TRUE(told_.empty()) << "a handler was called by the function that ends the file";
    const bool stays = how == way::release || how == way::cancel;
    const bool in_use = started_ > 0 && !told_now_;
    EXPECT_TRUE(!(stays || in_use) || is_open(number_)) << "closed under an operation";
    EXPECT_GE(io_.run(), started_);
    EXPECT_EQ(told_, std::vector<error_code>(started_, operation_aborted));
    EXPECT_EQ(is_open(number_), stays);
  }
  void expect_object(way how) {
    switch (how) {
      case way::move_assignment:
      case way::move_assignment_of_another_type:
        EXPECT_EQ(file_->get_executor(), net::any_io_executor{others_.get_executor()});
        EXPECT_TRUE(file_->is_open());
        return;
      case way::close:
      case way::release:
        EXPECT_FALSE(file_->is_open());
        EXPECT_EQ(file_->native_handle(), -1);
        EXPECT_EQ(released_.get(), how == way::release ? number_ : -1);
        file_->assign(::dup(pipe_.write.get()));
        EXPECT_TRUE(file_->is_open()) << "it can be opened again";
        return;
      case way::cancel:
        EXPECT_EQ(file_->native_handle(), number_);
        return expect_reads();
      case way::destruction:
        return;
    }
  }
  /// Called if none of the started operations was submitted to the engine: the function that ends the file then ends
  /// all of them itself, and none uses the descriptor.
  void nothing_is_in_flight() { told_now_ = true; }

 private:
  void start() {
    ++started_;
    start_read(*file_, net::buffer(room_), [this](error_code ec, std::size_t bytes) {
      EXPECT_EQ(bytes, 0U);
      told_.push_back(ec);
    });
  }
  void expect_reads() {
    std::size_t read = 0;
    start_read(*file_, net::buffer(room_), [&](error_code ec, std::size_t bytes) { read = ec ? 0 : bytes; });
    EXPECT_EQ(::write(pipe_.write.get(), "bell", 4), 4);
    io_.restart();
    io_.run();
    EXPECT_EQ(read, 4U) << "a cancelled read has taken the bytes";
  }

  pipe_ends pipe_;
  int number_ = -1;
  net::io_context io_;
  net::io_context others_;
  std::optional<File> file_;
  unique_fd released_;
  std::array<char, 8> room_{};
  std::size_t started_ = 0;
  bool told_now_ = false;
  std::vector<error_code> told_;
};

class asio_file_close : public testing::TestWithParam<std::tuple<way, state>> {
 protected:
  template <class File>
  static void expect_well() {
    const auto [how, when] = GetParam();
    doorbell::test::use_files_once();
    const nothing_left_behind checks;
    ending_file<File> file{when};
    if (when == state::started || when == state::none) file.nothing_is_in_flight();
    file.end(how);
    file.expect_end(how);
    file.expect_object(how);
  }
};

TEST_P(asio_file_close, of_a_stream_ends_its_operations_before_the_descriptor_is_closed_or_kept) {
  expect_well<stream_file>();
}
TEST_P(asio_file_close, of_a_random_access_file_ends_its_operations_before_the_descriptor_is_closed_or_kept) {
  expect_well<random_access_file>();
}

std::string name_of_end(const testing::TestParamInfo<std::tuple<way, state>>& info) {
  const auto [how, when] = info.param;
  return std::string{way_names.at(static_cast<std::size_t>(how))} + "_with_" +
         state_names.at(static_cast<std::size_t>(when));
}
INSTANTIATE_TEST_SUITE_P(
    each, asio_file_close,
    testing::Combine(testing::Values(way::close, way::destruction, way::move_assignment,
                                     way::move_assignment_of_another_type, way::release, way::cancel),
                     testing::Values(state::none, state::started, state::in_flight, state::in_flight_and_behind)),
    name_of_end);

TEST_F(asio_file_object, assigned_to_itself_stays_open_and_its_reads_go_on) {
  stream_file file{io_, pipe_.read.release()};
  file.async_read_some(net::buffer(room_), tell());
  io_.poll();
  auto& same = file;
  file = std::move(same);
  EXPECT_TRUE(file.is_open());
  EXPECT_EQ(::write(pipe_.write.get(), "x", 1), 1);
  io_.run();
  EXPECT_EQ(told_, std::vector<error_code>{error_code{}});
}

// Oracle: execve(2) closes the descriptor of each file that the object opens, in whatever way; an assigned descriptor
// keeps the flag that it has.
TEST_F(asio_file_object, opens_with_close_on_exec_and_does_not_change_an_assigned_descriptor) {
  const auto there = doorbell::test::temporary_file("text");
  const auto name = "/proc/self/fd/" + std::to_string(there.get());
  random_access_file file{io_, name, file_base::read_only};
  stream_file stream{io_.get_executor(), name, file_base::read_only};
  EXPECT_EQ(::fcntl(file.native_handle(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::fcntl(stream.native_handle(), F_GETFD), FD_CLOEXEC);
  stream_file moved{std::move(stream)};
  EXPECT_EQ(::fcntl(moved.native_handle(), F_GETFD), FD_CLOEXEC);
  const unique_fd released{moved.release()};
  EXPECT_EQ(::fcntl(released.get(), F_GETFD), FD_CLOEXEC);
  random_access_file given{io_, ::dup(there.get())};
  EXPECT_EQ(::fcntl(given.native_handle(), F_GETFD), 0);
}

/// A folder that is removed with its files, also if an exception ends the test.
class folder_of_test {
 public:
  folder_of_test() {
    if (::mkdtemp(name_.data()) == nullptr) throw std::system_error{errno, std::system_category(), name_};
  }
  ~folder_of_test() {
    std::error_code ec;
    std::filesystem::remove_all(name_, ec);
    EXPECT_FALSE(ec);
  }
  folder_of_test(const folder_of_test&) = delete;
  folder_of_test& operator=(const folder_of_test&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::string name_ = std::string{doorbell::test::temporary_folder()} + "/doorbell-test-XXXXXX";
};

/// Within a scope, new files get the mode that they are created with.
class no_umask {
 public:
  no_umask() = default;
  ~no_umask() { ::umask(before_); }
  no_umask(const no_umask&) = delete;
  no_umask& operator=(const no_umask&) = delete;

 private:
  const mode_t before_ = ::umask(0);
};

TEST_F(asio_file_object, creates_with_mode_0777_without_the_bits_of_the_umask) {
  const folder_of_test folder;
  const auto name = folder.name() + "/made";
  std::optional<stream_file> made;
  {
    const no_umask around;
    made.emplace(io_, name, file_base::write_only | file_base::create | file_base::exclusive);
  }
  struct stat about{};
  EXPECT_EQ(::fstat(made->native_handle(), &about), 0);
  EXPECT_EQ(about.st_mode, S_IFREG | 0777U);
  EXPECT_EQ(::unlink(name.c_str()), 0);
}

TEST_F(asio_file_object, close_reports_that_the_descriptor_cannot_be_closed) {
  const int number = pipe_.read.release();
  stream_file file{io_, number};
  ASSERT_EQ(::close(number), 0);
  error_code ec;
  EXPECT_EQ(file.close(ec), net::error::bad_descriptor);
  EXPECT_EQ(ec, net::error::bad_descriptor);
  EXPECT_FALSE(file.is_open());
}

// Oracle: a stream's position is where its reads and writes have left it, also after a move and after release().
TEST_F(asio_file_object, keeps_the_position_of_its_stream_in_a_move_and_a_release) {
  constexpr std::string_view letters = "abcdefghij";
  stream_file first{io_, doorbell::test::temporary_file(letters).release()};
  EXPECT_EQ(first.seek(2, file_base::seek_set), 2U);
  first.async_read_some(net::buffer(room_, 3), tell());
  net::io_context others;
  stream_file second{others};
  second = std::move(first);
  io_.run();
  EXPECT_EQ(second.seek(0, file_base::seek_cur), 5U);
  const int number = second.release();
  EXPECT_EQ(::lseek(number, 0, SEEK_CUR), 5);
  second.assign(number);
  EXPECT_EQ(second.read_some(net::buffer(room_, 2)), 2U);
  EXPECT_EQ(std::string_view(room_.data(), 2), "fg");
}

// The second signal's function object may be at the address of the first one's. Oracle: a signal ends only the
// operation that is bound to it.
TEST_F(asio_file_object, has_reads_that_only_their_own_signal_ends) {
  random_access_file file{io_, pipe_.read.release()};
  std::array<std::array<char, 1>, 8> rooms{};
  std::vector<error_code> unbound;
  for (auto& room : rooms) {
    std::optional<net::cancellation_signal> signal{std::in_place};
    file.async_read_some_at(
        0, net::buffer(room),
        net::bind_cancellation_slot(signal->slot(), [&](error_code ec, std::size_t) { unbound.push_back(ec); }));
    signal->slot().clear();
    signal.emplace();
    file.async_read_some_at(0, net::buffer(room_), net::bind_cancellation_slot(signal->slot(), tell()));
    io_.poll();
    signal->emit(net::cancellation_type::terminal);
  }
  io_.poll();
  EXPECT_EQ(told_, std::vector<error_code>(rooms.size(), operation_aborted));
  EXPECT_TRUE(unbound.empty());
  file.cancel();
  io_.run();
  EXPECT_EQ(unbound.size(), rooms.size());
}

TEST_F(asio_file_object, has_reads_that_share_a_slot_and_end_by_its_signal) {
  stream_file file{io_, pipe_.read.release()};
  net::cancellation_signal signal;
  for (int i = 0; i < 3; ++i)
    file.async_read_some(net::buffer(room_), net::bind_cancellation_slot(signal.slot(), tell()));
  bool is_left = true;
  file.async_read_some(net::buffer(room_), [&](error_code, std::size_t) { is_left = false; });
  io_.poll();
  signal.emit(net::cancellation_type::partial);
  io_.poll();
  EXPECT_EQ(told_, std::vector<error_code>(3, operation_aborted));
  EXPECT_TRUE(is_left);
  file.cancel();
  io_.run();
}

// A read of a pipe that does not block waits by a poll. If the poll has completed, and another reader has taken the
// bytes before the loop runs, there is nothing to read, and the operation would wait again. Oracle: if the file has
// been cancelled or closed meanwhile, the operation ends as cancelled instead.
TEST_F(asio_file_object, is_cancelled_after_another_reader_took_the_bytes_that_ended_its_poll) {
  ASSERT_EQ(::fcntl(pipe_.read.get(), F_SETFL, O_NONBLOCK), 0);
  const unique_fd others{::dup(pipe_.read.get())};
  for (const bool closes : {false, true}) {
    stream_file file{io_, ::dup(others.get())};
    file.async_read_some(net::buffer(room_), tell());
    io_.poll();
    ASSERT_EQ(::write(pipe_.write.get(), "x", 1), 1);
    std::this_thread::sleep_for(std::chrono::milliseconds{20});  // the poll completes now, or the test tests less
    ASSERT_EQ(::read(others.get(), room_.data(), 1), 1);
    closes ? file.close() : file.cancel();
    io_.restart();
    io_.run_for(std::chrono::seconds{20});
    EXPECT_EQ(std::exchange(told_, {}), std::vector<error_code>{operation_aborted});
  }
}

// Oracle: a refused operation gets its error, although another operation is in flight.
TEST_F(asio_file_object, a_refused_operation_gets_its_error_while_others_are_in_flight) {
  stream_file reader{io_, ::dup(pipe_.read.get())};
  const auto there = doorbell::test::temporary_file("text");
  random_access_file only{io_, "/proc/self/fd/" + std::to_string(there.get()), file_base::read_only};
  error_code of_read;
  reader.async_read_some(net::buffer(room_), [&](error_code ec, std::size_t) { of_read = ec; });
  io_.poll();
  only.async_write_some_at(0, net::buffer("x", 1), tell());
  io_.poll();
  EXPECT_EQ(told_, std::vector<error_code>{net::error::bad_descriptor});
  reader.cancel();
  io_.run();
  EXPECT_EQ(of_read, operation_aborted);
}

}  // namespace
