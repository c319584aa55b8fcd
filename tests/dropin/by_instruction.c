// SPDX-License-Identifier: Apache-2.0
//
// A program that makes a call of the kernel's AIO by the system call instruction itself, which no library can
// intercept.
static long submit_nothing(void) {
#if defined(__x86_64__)
  long answer = 209;
  __asm__ volatile("syscall" : "+a"(answer) : "D"(0L), "S"(0L), "d"(0L) : "rcx", "r11", "memory");
  return answer;
#else
  register long number __asm__("x8") = 2;
  register long answer __asm__("x0") = 0;
  register long count __asm__("x1") = 0;
  register long requests __asm__("x2") = 0;
  __asm__ volatile("svc 0" : "+r"(answer) : "r"(number), "r"(count), "r"(requests) : "memory");
  return answer;
#endif
}

int main(void) { return submit_nothing() == 0; }
