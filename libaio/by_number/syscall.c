// SPDX-License-Identifier: Apache-2.0
//
// libdoorbell-syscall.so: the function syscall(2), preloaded by doorbell-run. It passes the calls of the kernel's AIO
// to libaio.so.1 (answers.cpp), and jumps to the next syscall(2), usually the C library's, for each other number.
// Without libaio.so.1, it changes nothing.
//
// It is written in assembly because it must leave the stack and all arguments unchanged. A C function could not ensure
// this:
//   - A child of vfork(2) or clone(2) returns on its parent's stack, or on its own; no frame of ours may be on it.
//   - syscall(2) does not know the number of its arguments; they must stay in their registers and on the stack.
// The function that is jumped to sets errno. Other calls cost two comparisons and the jump.
//
// Thread safety: all functions may be called concurrently, in signal handlers, and before this library is initialized.

// NOLINTNEXTLINE(readability-identifier-naming): the name is glibc's
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/syscall.h>

typedef long (*function)(long number, ...);

/// A function that a system call is passed to, with the arguments of syscall(2).
typedef long (*answering)(long number, long, long, long, long, long, long);

// The names are used in the assembly below.
__attribute__((visibility("hidden"))) long doorbell_direct_syscall(long number, ...);
// The initial values are for constructors of other libraries, which may call syscall(2) before this one is initialized.
__attribute__((visibility("hidden"))) function doorbell_next_syscall = doorbell_direct_syscall;
__attribute__((visibility("hidden"))) answering doorbell_aio_calls = (answering)doorbell_direct_syscall;

__attribute__((constructor(101))) static void look_up_next(void) {
  const function found = (function)dlsym(RTLD_NEXT, "syscall");
  if (found == NULL) return;
  doorbell_next_syscall = found;
  answering none = (answering)doorbell_direct_syscall;
  __atomic_compare_exchange_n(&doorbell_aio_calls, &none, (answering)found, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/// Called by libaio.so.1 when it is loaded.
__attribute__((visibility("default"))) void doorbell_answer_syscalls(answering by) {
  __atomic_store_n(&doorbell_aio_calls, by, __ATOMIC_RELEASE);
}

#if defined(__x86_64__) && !defined(__ILP32__)

_Static_assert(SYS_io_setup == 206 && SYS_io_destroy == 207 && SYS_io_getevents == 208 && SYS_io_submit == 209 &&
                   SYS_io_cancel == 210 && SYS_io_pgetevents == 333,
               "the assembly has these numbers");

__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl syscall\n"
    ".type syscall, @function\n"
    "syscall:\n"
    "  .cfi_startproc\n"
    "  endbr64\n"
    "  leaq -206(%rdi), %rax\n"
    "  cmpq $4, %rax\n"
    "  jbe 1f\n"
    "  cmpq $333, %rdi\n"
    "  je 1f\n"
    "  jmp *doorbell_next_syscall(%rip)\n"
    "1:\n"
    "  jmp *doorbell_aio_calls(%rip)\n"
    "  .cfi_endproc\n"
    ".size syscall, .-syscall\n"

    // The same as glibc's syscall().
    ".p2align 4\n"
    ".hidden doorbell_direct_syscall\n"
    ".globl doorbell_direct_syscall\n"
    ".type doorbell_direct_syscall, @function\n"
    "doorbell_direct_syscall:\n"
    "  .cfi_startproc\n"
    "  endbr64\n"
    "  movq %rdi, %rax\n"
    "  movq %rsi, %rdi\n"
    "  movq %rdx, %rsi\n"
    "  movq %rcx, %rdx\n"
    "  movq %r8, %r10\n"
    "  movq %r9, %r8\n"
    "  movq 8(%rsp), %r9\n"
    "  syscall\n"
    "  cmpq $-4095, %rax\n"
    "  jae 1f\n"
    "  ret\n"
    "1:\n"
    "  negl %eax\n"
    "  pushq %rax\n"
    "  .cfi_adjust_cfa_offset 8\n"
    "  call __errno_location@PLT\n"
    "  popq %rdx\n"
    "  .cfi_adjust_cfa_offset -8\n"
    "  movl %edx, (%rax)\n"
    "  movq $-1, %rax\n"
    "  ret\n"
    "  .cfi_endproc\n"
    ".size doorbell_direct_syscall, .-doorbell_direct_syscall\n");

#elif defined(__aarch64__)

_Static_assert(SYS_io_setup == 0 && SYS_io_destroy == 1 && SYS_io_submit == 2 && SYS_io_cancel == 3 &&
                   SYS_io_getevents == 4 && SYS_io_pgetevents == 292,
               "the assembly has these numbers");

// hint #34 is `bti c`.
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl syscall\n"
    ".type syscall, @function\n"
    "syscall:\n"
    "  .cfi_startproc\n"
    "  hint #34\n"
    "  cmp x0, #4\n"
    "  b.ls 1f\n"
    "  cmp x0, #292\n"
    "  b.eq 1f\n"
    "  adrp x16, doorbell_next_syscall\n"
    "  ldr x16, [x16, :lo12:doorbell_next_syscall]\n"
    "  br x16\n"
    "1:\n"
    "  adrp x16, doorbell_aio_calls\n"
    "  ldr x16, [x16, :lo12:doorbell_aio_calls]\n"
    "  br x16\n"
    "  .cfi_endproc\n"
    ".size syscall, .-syscall\n"

    // The same as glibc's syscall().
    ".p2align 4\n"
    ".hidden doorbell_direct_syscall\n"
    ".globl doorbell_direct_syscall\n"
    ".type doorbell_direct_syscall, @function\n"
    "doorbell_direct_syscall:\n"
    "  .cfi_startproc\n"
    "  hint #34\n"
    "  mov x8, x0\n"
    "  mov x0, x1\n"
    "  mov x1, x2\n"
    "  mov x2, x3\n"
    "  mov x3, x4\n"
    "  mov x4, x5\n"
    "  mov x5, x6\n"
    "  svc #0\n"
    "  cmn x0, #4095\n"
    "  b.cs 1f\n"
    "  ret\n"
    "1:\n"
    "  stp x29, x30, [sp, #-32]!\n"
    "  .cfi_def_cfa_offset 32\n"
    "  .cfi_offset 29, -32\n"
    "  .cfi_offset 30, -24\n"
    "  mov x29, sp\n"
    "  neg w0, w0\n"
    "  str x0, [sp, #16]\n"
    "  bl __errno_location\n"
    "  ldr x1, [sp, #16]\n"
    "  str w1, [x0]\n"
    "  mov x0, #-1\n"
    "  ldp x29, x30, [sp], #32\n"
    "  .cfi_def_cfa_offset 0\n"
    "  .cfi_restore 29\n"
    "  .cfi_restore 30\n"
    "  ret\n"
    "  .cfi_endproc\n"
    ".size doorbell_direct_syscall, .-doorbell_direct_syscall\n");

#else
#error "there is no syscall() for this processor"
#endif
