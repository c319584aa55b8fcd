// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doorbell/base/unique_fd.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "support/files.hpp"

namespace doorbell::test {

/// A file on which this process holds a record lock (fcntl(2)), and another process that checks whether it is held.
class locked_file {
 public:
  /// Forks: call it while there is no other thread.
  locked_file() : file_{::mkostemp(path_.data(), O_CLOEXEC)} {
    auto lock = write_lock();
    EXPECT_EQ(::fcntl(file_.get(), F_SETLK, &lock), 0);
    watcher_ = ::fork();
    if (watcher_ == 0) watch();
    answers_.write.reset();
    questions_.read.reset();
  }
  ~locked_file() {
    questions_.write.reset();
    ::waitpid(watcher_, nullptr, 0);
    ::unlink(path_.c_str());
  }
  locked_file(const locked_file&) = delete;
  locked_file& operator=(const locked_file&) = delete;

  [[nodiscard]] int get() const { return file_.get(); }
  [[nodiscard]] bool is_held() const {
    char answer = '?';
    EXPECT_EQ(::write(questions_.write.get(), &answer, 1), 1);
    EXPECT_EQ(::read(answers_.read.get(), &answer, 1), 1);
    return answer == 'y';
  }

 private:
  static struct flock write_lock() {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
  }

  [[noreturn]] void watch() const {
    const int own = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    ::close(questions_.write.get());
    char question = 0;
    while (::read(questions_.read.get(), &question, 1) == 1) {
      auto lock = write_lock();
      ::fcntl(own, F_GETLK, &lock);
      const char answer = lock.l_type == F_UNLCK ? 'n' : 'y';
      if (::write(answers_.write.get(), &answer, 1) != 1) break;
    }
    ::_exit(0);
  }

  std::string path_ = "/var/tmp/doorbell-lock-XXXXXX";
  base::unique_fd file_;
  pipe_ends questions_;
  pipe_ends answers_;
  pid_t watcher_ = -1;
};

}  // namespace doorbell::test
