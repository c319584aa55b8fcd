// SPDX-License-Identifier: Apache-2.0
//
// Checks of addresses that a program passes, which may be invalid.
#pragma once

#include <cstddef>
#include <cstdint>

namespace doorbell::aio {

/// The range of addresses that a program on one kind of processor may use.
struct address_space {
  std::uintptr_t tag;  ///< bits that the program may set freely; they are not part of the address
  std::uintptr_t end;  ///< the first address behind the range
};

namespace address_spaces {

// `end` is the largest TASK_SIZE_MAX of any kernel for the processor (arch/*/include/asm/processor.h and page_64.h in
// Linux), because a smaller value would refuse valid pointers on some machines. On every machine it is below the
// kernel's half of the address space, so each kernel address is refused. An address between this machine's
// TASK_SIZE_MAX and `end` is accepted; like an unmapped page, it refers to no memory.

// TASK_SIZE_MAX is 2^47 with four levels of page tables and 2^56 with five (LA57); a program gets addresses above 2^47
// only by a hint to mmap(2). With LAM_U57 (arch_prctl(2), ARCH_ENABLE_TAGGED_ADDR) the bits 57 to 62 are a tag. Bit 63
// marks a kernel address.
inline constexpr address_space x86_64{.tag = std::uintptr_t{0x3f} << 57, .end = std::uintptr_t{1} << 56};

// TASK_SIZE_MAX is 2^VA_BITS: 2^48 in most configurations, with the stack below it, and at most 2^52; a program gets
// addresses above 2^48 only by a hint to mmap(2). The top byte is a tag (TCR_EL1.TBI0 is set;
// Documentation/arch/arm64/tagged-address-abi.rst). Bit 55 marks a kernel address, independently of the tag.
inline constexpr address_space arm64{.tag = std::uintptr_t{0xff} << 56, .end = std::uintptr_t{1} << 52};

// The limits of an unknown processor are unknown, so only ranges that wrap around are refused.
inline constexpr address_space unknown{.tag = 0, .end = ~std::uintptr_t{0}};

#if defined(__x86_64__)
inline constexpr address_space here = x86_64;
#elif defined(__aarch64__)
inline constexpr address_space here = arm64;
#else
inline constexpr address_space here = unknown;
#endif

}  // namespace address_spaces

/// Whether `bytes` at `address` are outside the kernel's half. Makes no system call; does not check whether they are
/// mapped.
[[nodiscard]] inline bool in_user_half(const void* address, std::size_t bytes,
                                       const address_space& space = address_spaces::here) noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address) & ~space.tag;
  return at < space.end && bytes <= space.end - at;
}

/// The same, and `address` is not in the first page, as null is: the check of readability that needs no system call.
[[nodiscard]] inline bool plausible(const void* address, std::size_t bytes,
                                    const address_space& space = address_spaces::here) noexcept {
  constexpr std::uintptr_t first = 4096;  // the smallest page size
  return (reinterpret_cast<std::uintptr_t>(address) & ~space.tag) >= first && in_user_half(address, bytes, space);
}

/// Copies from an address that may not be readable, by a system call.
/// @return false if it is not readable.
[[nodiscard]] bool read_memory(const void* from, void* to, std::size_t bytes) noexcept;
/// Copies to an address that may not be writable, by a system call.
/// @return false if it is not writable; then some of the bytes may have been written.
[[nodiscard]] bool write_memory(void* to, const void* from, std::size_t bytes) noexcept;

/// Whether each pointer is tried before it is used: DOORBELL_STRICT=1 in the environment at the first call.
[[nodiscard]] bool is_strict() noexcept;

/// Whether the memory is readable or writable. Makes system calls for one byte in each page. try_to_write() writes each
/// byte as it was read, so no other thread may use the memory meanwhile.
[[nodiscard]] bool try_to_read(const void* address, std::size_t bytes) noexcept;
[[nodiscard]] bool try_to_write(void* address, std::size_t bytes) noexcept;

/// By plausibility, and if is_strict(), also by a try.
[[nodiscard]] inline bool is_readable(const void* address, std::size_t bytes) noexcept {
  return plausible(address, bytes) && (!is_strict() || try_to_read(address, bytes));
}
[[nodiscard]] inline bool is_writable(void* address, std::size_t bytes) noexcept {
  return plausible(address, bytes) && (!is_strict() || try_to_write(address, bytes));
}

}  // namespace doorbell::aio
