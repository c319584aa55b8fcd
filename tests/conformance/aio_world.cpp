// SPDX-License-Identifier: Apache-2.0
#include "aio_world.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include "support/eventually.hpp"
#include "support/files.hpp"

namespace doorbell::test {
namespace {

constexpr std::size_t file_bytes = 8192;
constexpr unsigned lasting_context_room = 128;
constexpr std::size_t piece = 5;  // of a small vector
constexpr std::uint32_t untouched_key = 77;
constexpr std::uintptr_t kernels_half = 0xffff800000000000;
constexpr timespec patience{.tv_sec = 20, .tv_nsec = 0};

/// The byte that a file always has at this offset: writes write it again, so the order of requests makes no difference.
char content_at(std::int64_t offset) { return static_cast<char>('a' + offset % 23); }

std::string whole_content() {
  std::string text(file_bytes, '\0');
  for (std::size_t at = 0; at < text.size(); ++at) text[at] = content_at(static_cast<std::int64_t>(at));
  return text;
}

bool is_read(const request_spec& one) { return is_transfer(one) && !is_write(one); }

void add_to_hash(std::uint64_t& hash, std::span<const char> bytes) {
  for (const char each : bytes) hash = (hash ^ static_cast<unsigned char>(each)) * 0x100000001b3;
}

bool is_ready(int fd, short events) {
  pollfd asked{.fd = fd, .events = events, .revents = 0};
  return fd >= 0 && ::poll(&asked, 1, 0) == 1 && (asked.revents & events) != 0;
}

/// Memory that may be read, and not written.
char* read_only_page() {
  static void* const mapped = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return static_cast<char*>(mapped);
}

template <class T>
T* address(std::uintptr_t at) {
  return reinterpret_cast<T*>(at);
}

base::unique_fd opened_again(const base::unique_fd& file, int flags) {
  return base::unique_fd{::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), flags | O_CLOEXEC)};
}

bool holds_content(const base::unique_fd& file) {
  std::string text(file_bytes + 1, '\0');
  const auto size = ::pread(file.get(), text.data(), text.size(), 0);
  return size >= 0 && text.substr(0, file_bytes) == whole_content();
}

}  // namespace

aio_world::aio_world(const aio_side& side) : side_{side} {
  const auto file = [&](target name) -> auto& { return files_[static_cast<std::size_t>(name)]; };
  file(target::memory_file).reset(::memfd_create("content", MFD_CLOEXEC));
  const auto content = whole_content();
  std::ignore = ::pwrite(descriptor(target::memory_file), content.data(), content.size(), 0);
  file(target::disk_file) = doorbell::test::temporary_file(content);
  file(target::read_only_file) = opened_again(file(target::memory_file), O_RDONLY);
  file(target::write_only_file) = opened_again(file(target::memory_file), O_WRONLY);
  file(target::directory).reset(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  file(target::epoll).reset(::epoll_create1(EPOLL_CLOEXEC));
  file(target::path).reset(::open("/", O_PATH | O_CLOEXEC));
  file(target::null_device).reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  file(target::block_device).reset(::open("/dev/loop0", O_RDONLY | O_CLOEXEC));
  file(target::append_file) = opened_again(doorbell::test::temporary_file(), O_RDWR | O_APPEND);
  file(target::direct_file) = opened_again(doorbell::test::temporary_file(content), O_RDWR | O_DIRECT);
  file(target::synced_file) = opened_again(doorbell::test::temporary_file(content), O_RDWR | O_DSYNC);
  forget_contexts();
}

aio_world::~aio_world() {
  for (const auto handle : handles_) side_.destroy(handle);
}

// fs.aio-max-nr limits the contexts of the whole system, and the kernel still counts a context for a while after its
// destruction. So io_setup is repeated while it fails with EAGAIN.
void aio_world::forget_contexts() {
  for (auto& handle : handles_) side_.destroy(std::exchange(handle, 0));
  int answer = -EAGAIN;
  std::ignore = eventually([&] { return (answer = side_.setup(lasting_context_room, &handles_[0])) != -EAGAIN; });
  if (answer == -EAGAIN) throw std::runtime_error{"fs.aio-max-nr is used up by others"};
  if (answer != 0) throw std::system_error{-answer, std::generic_category(), "io_setup"};
}

void aio_world::begin_program() {
  const auto file = [&](target name) -> auto& { return files_[static_cast<std::size_t>(name)]; };
  const auto writer = [&](target name) -> auto& { return writers_[static_cast<std::size_t>(name)]; };
  doorbell::test::pipe_ends blocking;
  file(target::pipe) = std::move(blocking.read);
  file(target::pipe_writer).reset(::dup(blocking.write.get()));
  writer(target::pipe) = std::move(blocking.write);
  doorbell::test::pipe_ends nonblocking;
  ::fcntl(nonblocking.read.get(), F_SETFL, O_NONBLOCK);
  file(target::nonblocking_pipe) = std::move(nonblocking.read);
  writer(target::nonblocking_pipe) = std::move(nonblocking.write);
  for (const auto name : {target::eventfd, target::nonblocking_eventfd}) {
    file(name).reset(::eventfd(0, EFD_CLOEXEC | (does_not_block(name) ? EFD_NONBLOCK : 0)));
    writer(name).reset(::dup(descriptor(name)));
  }
  for (const auto name : {target::socket, target::nonblocking_socket}) {
    int ends[2];
    const int flags = SOCK_CLOEXEC | (does_not_block(name) ? SOCK_NONBLOCK : 0);
    std::ignore = ::socketpair(AF_UNIX, SOCK_STREAM | flags, 0, ends);
    file(name).reset(ends[0]);
    writer(name).reset(ends[1]);
  }
  side_.forget_eventfds();
  for (auto& efd : efds_) efd.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::ignore = ::ftruncate(descriptor(target::append_file), 0);
}

void aio_world::end_program() {
  for (unsigned context = 1; context < contexts; ++context)
    if (has_context(context)) destroy(context);
  requests_.clear();
  for (auto& got : got_) got.clear();
}

int aio_world::eventfd_descriptor(eventfd_choice efd) const {
  switch (efd) {
    case eventfd_choice::first:
      return efds_[0].get();
    case eventfd_choice::second:
      return efds_[1].get();
    case eventfd_choice::no_eventfd:
      return descriptor(target::memory_file);
    default:
      return -1;
  }
}

submitted& aio_world::prepare(const request_spec& spec) {
  auto& made = *(requests_[spec.number] = std::make_unique<submitted>());
  made.spec = spec;
  set_buffers(made);
  auto& request = made.request;
  request.data = &made;
  request.key = untouched_key;
  request.rw_flags = spec.rw_flags;
  request.lio_opcode = spec.opcode;
  request.reqprio = spec.priority;
  request.fildes = descriptor(spec.file);
  request.nbytes = spec.bytes;
  request.offset = spec.offset;
  request.reserved2 = spec.reserved;
  request.flags = spec.more_flags;
  request.buf = reinterpret_cast<std::uintptr_t>(first_buffer(made));
  if (spec.efd != eventfd_choice::none) {
    request.flags |= aio::iocb_abi::flag_resfd;
    request.resfd = static_cast<std::uint32_t>(eventfd_descriptor(spec.efd));
  }
  if (spec.buffer == where::null) request.buf = 0;
  if (spec.buffer == where::kernels_half) request.buf = kernels_half;
  if (spec.buffer == where::read_only) request.buf = reinterpret_cast<std::uintptr_t>(read_only_page());
  const auto operation = static_cast<aio::opcode>(spec.opcode);
  if (operation == aio::opcode::preadv || operation == aio::opcode::pwritev) set_vectors(made);
  if (operation == aio::opcode::poll) {
    request.buf = spec.events;
    request.nbytes = spec.buffer == where::null;
  }
  if (operation == aio::opcode::fsync || operation == aio::opcode::fdsync) request.buf = spec.buffer != where::own;
  return made;
}

char* aio_world::first_buffer(submitted& made) {
  if (made.blocks == nullptr) return made.buffer.data();
  return made.blocks->bytes.data() + (made.spec.buffer == where::odd ? 1 : 0);
}

// A write writes the bytes that the file has at its offset already, so no write changes a file. The buffer of a read
// has other bytes than the file, so a read changes it.
void aio_world::set_buffers(submitted& made) {
  const auto offset = std::max<std::int64_t>(made.spec.offset, 0) % static_cast<std::int64_t>(file_bytes);
  const auto fill = [&, writes = is_write(made.spec)](std::span<char> bytes, std::int64_t from) {
    for (char& each : bytes) each = writes ? content_at(from++) : '-';
  };
  fill(made.buffer, offset);
  fill(made.second_buffer, offset + 64);
  if (made.spec.file != target::direct_file || !is_transfer(made.spec)) return;
  made.blocks = std::make_unique<direct_buffer>();
  fill(std::span{first_buffer(made), 2 * direct_block}, offset);
}

void aio_world::set_vectors(submitted& made) {
  // The first two iovecs have 64 bytes each; all others are empty.
  made.buffers = {iovec{made.buffer.data(), 64}, iovec{made.second_buffer.data(), 64}, iovec{made.buffer.data(), 0},
                  iovec{made.buffer.data(), 0}};
  made.buffers.resize(std::max<std::size_t>(4, std::min<std::size_t>(made.spec.bytes, 1100)),
                      iovec{made.buffer.data(), 0});
  if (made.blocks != nullptr) {
    made.buffers[0] = {first_buffer(made), direct_block};
    made.buffers[1] = {first_buffer(made) + direct_block, direct_block};
  }
  if (made.spec.shape == vectors::small) {
    std::size_t at = 0;
    for (auto& each : made.buffers) each = {made.buffer.data() + piece * at++, piece};
  }
  const auto bad_address = made.spec.shape == vectors::bad_address || made.spec.shape == vectors::both_bad;
  const auto bad_length = made.spec.shape == vectors::bad_length || made.spec.shape == vectors::both_bad;
  if (bad_address) made.buffers[0].iov_base = address<void>(kernels_half);
  if (bad_length) made.buffers[1].iov_len = std::size_t{1} << 63;
  if (made.spec.shape == vectors::second_read_only) made.buffers[1].iov_base = read_only_page();
  if (made.spec.buffer == where::read_only) made.buffers[0].iov_base = read_only_page();
  if (made.spec.buffer != where::null && made.spec.buffer != where::kernels_half)
    made.request.buf = reinterpret_cast<std::uintptr_t>(made.buffers.data());
}

int aio_world::setup(const operation& one) { return side_.setup(one.number, &handles_.at(one.context)); }

int aio_world::destroy(unsigned context) { return side_.destroy(std::exchange(handles_.at(context), 0)); }

int aio_world::destroy_twice(unsigned context) {
  const auto handle = std::exchange(handles_.at(context), 0);
  const int first = side_.destroy(handle);
  return side_.destroy(handle) == -EINVAL ? first : 1;
}

int aio_world::submit(const operation& one) {
  std::vector<aio::iocb_abi*> list;
  for (const auto& spec : one.requests) list.push_back(&prepare(spec).request);
  if (one.end != list_end::nothing)
    list.push_back(one.end == list_end::null ? nullptr : address<aio::iocb_abi>(kernels_half));
  return side_.submit(handles_.at(one.context), static_cast<long>(list.size()), list.data());
}

int aio_world::submit_badly(const operation& one) {
  const auto handle = handles_.at(one.context);
  aio::iocb_abi* nothing = nullptr;
  auto* nowhere = address<aio::iocb_abi>(kernels_half);
  switch (one.how % 8) {
    case 0:
      return side_.submit(handle, -1, &nothing);
    case 1:
      return side_.submit(handle, 1, nullptr);
    case 2:
      return side_.submit(handle, 1, address<aio::iocb_abi*>(kernels_half));
    case 3:
      return side_.submit(handle, 1, &nothing);
    case 4:
      return side_.submit(handle, 1, &nowhere);
    case 5:
      return side_.submit(handle, 0, nullptr);
    case 6:
      return side_.submit(0x1000, 1, &nothing);
    default:
      return side_.submit(handle, LONG_MIN, nullptr);
  }
}

int aio_world::cancel(const operation& one) {
  const auto handle = handles_.at(one.context);
  const auto known = requests_.find(one.number);
  submitted never_submitted{};
  auto& request = known != requests_.end() ? known->second->request : never_submitted.request;
  switch (one.how) {
    case 0:
      return side_.cancel(handle, nullptr, nullptr);
    case 1:
      return side_.cancel(handle, address<aio::iocb_abi>(kernels_half), nullptr);
    case 2:
      return side_.cancel(0x1000, &request, nullptr);
    case 3: {
      const auto key = std::exchange(request.key, 1);
      const int answer = side_.cancel(handle, &request, nullptr);
      request.key = key;
      return answer;
    }
    default:
      return side_.cancel(handle, &request, nullptr);
  }
}

told_event aio_world::tell(const aio::io_event& event) {
  const auto& from = *static_cast<const submitted*>(event.data);
  told_event told{.number = from.spec.number,
                  .res = event.res,
                  .res2 = event.res2,
                  .data_comes_back = static_cast<const void*>(event.obj) == &from.request,
                  .read = 0};
  // The kernel reports all events of the wakeup that completed a poll, doorbell only the requested ones.
  if (from.spec.opcode == static_cast<std::uint16_t>(aio::opcode::poll) && event.res > 0)
    told.res &= static_cast<std::int64_t>(from.spec.events | POLLERR | POLLHUP);
  // O_DIRECT may fill the rest of a block behind the end of the file.
  if (!is_read(from.spec) || event.res < 0) return told;
  if (from.blocks != nullptr) {
    const auto bytes = std::min<std::size_t>(static_cast<std::size_t>(event.res), from.blocks->bytes.size());
    add_to_hash(told.read, std::span{from.blocks->bytes}.first(bytes));
  }
  add_to_hash(told.read, from.buffer);
  add_to_hash(told.read, from.second_buffer);
  return told;
}

int aio_world::get(unsigned context, long count, manner how) {
  const long room = how == manner::for_more ? count + 3 : count;
  std::vector<aio::io_event> events(static_cast<std::size_t>(room));
  timespec timeout = patience;
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  const bool is_masked = how == manner::with_mask;
  const aio::aio_sigset blocked{.sigmask = is_masked ? &mask : nullptr, .sigsetsize = is_masked ? sizeof(long) : 0};
  errno = EINTR;  // as if an earlier call had set it
  const int answer = how == manner::with_timeout || how == manner::for_more
                         ? side_.getevents(handles_.at(context), count, room, events.data(), &timeout)
                         : side_.pgetevents(handles_.at(context), count, room, events.data(), &timeout, &blocked);
  for (int at = 0; at < answer; ++at) got_.at(context).push_back(tell(events[static_cast<std::size_t>(at)]));
  return answer;
}

int aio_world::get_badly(const operation& one, bool events_are_there) {
  const auto handle = handles_.at(one.context);
  std::array<aio::io_event, 4> none{};
  timespec no_wait{};
  timespec a_moment{.tv_sec = 0, .tv_nsec = 1000};
  timespec long_enough = patience;
  switch (one.how % 8) {
    case 0:
      return side_.getevents(handle, 3, 2, none.data(), &no_wait);
    case 1:
      return side_.getevents(handle, -1, 2, none.data(), &no_wait);
    case 2:
      return side_.getevents(0x1000, 0, 2, none.data(), &no_wait);
    case 3:
      return side_.getevents(handle, 1, 2, none.data(), address<timespec>(kernels_half));
    case 4:
      return side_.getevents(handle, 0, 0, nullptr, &no_wait);
    case 5:
      return side_.pgetevents(handle, 0, 1, none.data(), &no_wait, address<aio::aio_sigset>(kernels_half));
    case 6:
      return events_are_there ? 0 : side_.getevents(handle, 1, 2, none.data(), &a_moment);
    default:
      return side_.getevents(handle, events_are_there, 2, nullptr, events_are_there ? &long_enough : &no_wait);
  }
}

void aio_world::fill(unsigned source) {
  const std::uint64_t one = 1;
  const auto bytes = is_eventfd(static_cast<target>(source)) ? sizeof one : 1;
  const int writer = writers_.at(source).get();
  if (is_ready(writer, POLLOUT)) std::ignore = ::write(writer, &one, bytes);
}

// Fills the file that requests write to: the socket itself, or the writing end of a pipe.
void aio_world::stop_up(unsigned source) {
  const auto file = static_cast<target>(source);
  const int writer = is_socket(file) ? descriptor(file) : writers_.at(source).get();
  if (is_eventfd(file)) {
    if (!is_ready(writer, POLLOUT)) return;  // it would be writable for a moment; whether a poll sees that is a race
    empty(source);
    const std::uint64_t most = ~std::uint64_t{0} - 1;
    std::ignore = ::write(writer, &most, sizeof most);
    return;
  }
  const std::string some(4096, 'x');
  while (is_ready(writer, POLLOUT)) {
    const auto written = is_socket(file) ? ::send(writer, some.data(), some.size(), MSG_DONTWAIT)
                                         : ::write(writer, some.data(), some.size());
    if (written <= 0) break;
  }
}

void aio_world::make_room(unsigned source) {
  const auto file = static_cast<target>(source);
  const int reader = is_socket(file) ? writers_.at(source).get() : descriptor(file);
  std::array<char, 65536> bytes;
  while (is_ready(reader, POLLIN) && ::read(reader, bytes.data(), bytes.size()) > 0) {
  }
}

void aio_world::shut_down(unsigned source) {
  if (is_socket(static_cast<target>(source))) ::shutdown(writers_.at(source).get(), SHUT_WR);
}

void aio_world::empty(unsigned source) {
  std::array<char, 64> bytes;
  const auto file = static_cast<target>(source);
  if (readiness(file, POLLIN) & POLLIN) std::ignore = ::read(descriptor(file), bytes.data(), bytes.size());
}

void aio_world::hang_up(unsigned source) {
  writers_.at(source).reset();
  if (source == static_cast<unsigned>(target::pipe)) files_[static_cast<std::size_t>(target::pipe_writer)].reset();
}

// Each name keeps its file description; its number becomes the other's.
void aio_world::exchange_numbers(target one, target other) {
  auto& first = files_[static_cast<std::size_t>(one)];
  auto& second = files_[static_cast<std::size_t>(other)];
  if (!first || !second || &first == &second) return;
  const base::unique_fd kept{::fcntl(first.get(), F_DUPFD_CLOEXEC, 0)};
  std::ignore = ::dup3(second.get(), first.get(), O_CLOEXEC);
  std::ignore = ::dup3(kept.get(), second.get(), O_CLOEXEC);
  std::swap(first, second);
}

std::vector<told_event> aio_world::take_events(unsigned context) {
  auto events = std::exchange(got_.at(context), {});
  std::sort(events.begin(), events.end());
  return events;
}

std::array<unsigned, 3> aio_world::ring(unsigned context) const {
  const auto* const header = address<const unsigned>(handles_.at(context));
  return {header[1], header[2], header[3]};
}

unsigned aio_world::readiness(target file, unsigned events) const {
  pollfd asked{.fd = descriptor(file), .events = static_cast<short>(events), .revents = 0};
  ::poll(&asked, 1, 0);
  return static_cast<unsigned short>(asked.revents);
}

std::uint64_t aio_world::take_eventfds(unsigned efd) {
  std::uint64_t count = 0;
  return ::read(efds_.at(efd).get(), &count, sizeof count) == sizeof count ? count : 0;
}

bool aio_world::takes_signals(unsigned efd, std::uint64_t times) {
  std::uint64_t signals = 0;
  while (signals < times) {
    pollfd readable{.fd = efds_.at(efd).get(), .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, static_cast<int>(patience.tv_sec) * 1000) != 1) return false;
    signals += take_eventfds(efd);
  }
  return signals == times;
}

// The direct file is left out: the file system decides the result of a transfer that is not aligned.
bool aio_world::files_are_intact() const {
  const std::array written{target::memory_file, target::disk_file, target::synced_file};
  return std::ranges::all_of(written,
                             [&](target file) { return holds_content(files_[static_cast<std::size_t>(file)]); });
}

std::string aio_world::appended() const {
  std::string text(file_bytes, '\0');
  const auto size = ::pread(descriptor(target::append_file), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  return text;
}

std::vector<std::int64_t> aio_world::positions() const {
  std::vector<std::int64_t> all;
  for (const auto file : {target::memory_file, target::disk_file, target::read_only_file, target::write_only_file,
                          target::append_file, target::direct_file, target::synced_file})
    all.push_back(::lseek(descriptor(file), 0, SEEK_CUR));
  return all;
}

}  // namespace doorbell::test
