// SPDX-License-Identifier: Apache-2.0
//
// What a program hands over as an address may be none.
#pragma once

#include <cstddef>
#include <cstdint>

namespace doorbell::aio {

/// Where a program's addresses end, by processor.
struct address_space {
  std::uintptr_t tag;  ///< bits that are a program's own, and no part of the address
  std::uintptr_t end;
};

namespace address_spaces {

// `end` is the largest TASK_SIZE_MAX that a kernel for the processor may have (arch/*/include/asm/processor.h and page_64.h in
// Linux), whatever the machine at hand has: a smaller one would refuse valid pointers. On each machine it is below the kernel's half,
// so all of that is refused. What is between the machine's own end and this one is a pointer to nothing, as an unmapped page is.

// 2^47 with four levels of page tables and 2^56 with five (LA57), which a program gets by a hint to mmap(2). With LAM_U57
// (arch_prctl(2), ARCH_ENABLE_TAGGED_ADDR) the bits 57 to 62 are a tag; bit 63 says that an address is the kernel's.
inline constexpr address_space x86_64{.tag = std::uintptr_t{0x3f} << 57, .end = std::uintptr_t{1} << 56};

// 2^VA_BITS: 2^48, below which the stack is, in most configurations; 2^52 at most, which a program gets by a hint to mmap(2). The top
// byte is a tag (TCR_EL1.TBI0 is set; Documentation/arch/arm64/tagged-address-abi.rst), and bit 55 says that an address is the
// kernel's, whatever the tag.
inline constexpr address_space arm64{.tag = std::uintptr_t{0xff} << 56, .end = std::uintptr_t{1} << 52};

// Nothing is known of it, so nothing is refused that does not wrap around.
inline constexpr address_space unknown{.tag = 0, .end = ~std::uintptr_t{0}};

#if defined(__x86_64__)
inline constexpr address_space here = x86_64;
#elif defined(__aarch64__)
inline constexpr address_space here = arm64;
#else
inline constexpr address_space here = unknown;
#endif

}  // namespace address_spaces

/// Whether `bytes` at `address` are outside the kernel's half. Costs nothing; does not find out whether anything is there.
[[nodiscard]] inline bool in_user_half(const void* address, std::size_t bytes,
                                       const address_space& space = address_spaces::here) noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address) & ~space.tag;
  return at < space.end && bytes <= space.end - at;
}

/// The same, and not at null: what may be read, for all that can be known for nothing.
[[nodiscard]] inline bool plausible(const void* address, std::size_t bytes,
                                    const address_space& space = address_spaces::here) noexcept {
  constexpr std::uintptr_t first = 4096;  // the smallest page that there is
  return (reinterpret_cast<std::uintptr_t>(address) & ~space.tag) >= first && in_user_half(address, bytes, space);
}

/// Copies memory that may not be there; a system call.
/// @return false when it is not.
[[nodiscard]] bool read_memory(const void* from, void* to, std::size_t bytes) noexcept;

/// Whether each pointer is to be tried before it is used: DOORBELL_STRICT=1, when the process first asks.
[[nodiscard]] bool is_strict() noexcept;

/// Whether the memory may be read, respectively written: by plausibility, or strictly by trying. What may be written is the
/// caller's alone for now: strictly, a byte in each page of it is written as it was read.
[[nodiscard]] bool try_to_read(const void* address, std::size_t bytes) noexcept;
[[nodiscard]] bool try_to_write(void* address, std::size_t bytes) noexcept;

[[nodiscard]] inline bool is_readable(const void* address, std::size_t bytes) noexcept {
  return plausible(address, bytes) && (!is_strict() || try_to_read(address, bytes));
}
[[nodiscard]] inline bool is_writable(void* address, std::size_t bytes) noexcept {
  return plausible(address, bytes) && (!is_strict() || try_to_write(address, bytes));
}

}  // namespace doorbell::aio
