// SPDX-License-Identifier: Apache-2.0
//
// A program that is interrupted by signals while it writes its statistics. It prints a dot on stdout for each signal.
// When a line arrives on stdin, another thread stops the signals and starts a program that prints its descriptors.
// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's
#define _GNU_SOURCE
#include <libaio.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

static void print_dot(int signal) {
  (void)signal;
  if (write(STDOUT_FILENO, ".", 1) != 1) abort();
}

static void set_timer(suseconds_t every) {
  const struct itimerval time = {.it_interval.tv_usec = every, .it_value.tv_usec = every};
  if (setitimer(ITIMER_REAL, &time, NULL) != 0) abort();
}

// Functions that were registered later are called earlier, so the statistics follow this call.
static void send_signals(void) { set_timer(2000); }

static void* start_another(void* unused) {
  char line;
  if (read(STDIN_FILENO, &line, 1) != 1) abort();
  set_timer(0);
  unsetenv("LD_PRELOAD");
  unsetenv("DOORBELL_STATS");
  char* arguments[] = {"ls", "-l", "/proc/self/fd", NULL};
  pid_t child = 0;
  if (posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ) != 0) abort();
  waitpid(child, NULL, 0);
  close(STDOUT_FILENO);
  return unused;
}

int main(void) {
  io_destroy(NULL);
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &alarm, NULL);  // the signals interrupt the thread that ends the process
  pthread_t thread;
  if (pthread_create(&thread, NULL, start_another, NULL) != 0) abort();
  pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
  const struct sigaction action = {.sa_handler = print_dot};  // without SA_RESTART
  sigaction(SIGALRM, &action, NULL);
  atexit(send_signals);
  return 0;
}
