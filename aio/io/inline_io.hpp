// SPDX-License-Identifier: Apache-2.0
//
// Requests that submit completes inline, on the submitting thread, because they do not wait for a disk:
//
//   requests                                           by which calls
//   reads of data in the page cache or in memory       all; also reads that stop at the end of the file, or fault
//   writes to files in memory (tmpfs)                  all
//   writes into the page cache                         the calls by handle, whose programs know the kernel's AIO
//
// Exceptions, which submit does not try: requests with a priority (IOCB_FLAG_IOPRIO), except reads by handle through
// the page cache if reads_block(); and some reads of a file whose last reads have missed the page cache
// (file_hints.hpp).
//
// The kernel's AIO also writes into the page cache inside io_submit(2), and programs rely on that: the data is in the
// page cache when the call returns, so that later writes and appends follow it, and the submitting thread gets the
// SIGXFSZ of a file size limit. Such a write may have to wait until the kernel has written back other dirty pages.
// Programs that submit through aio::context, for example event loops, must not wait, so the engine carries out their
// writes.
//
// The engine also gets requests that must wait for the disk (O_DIRECT, O_SYNC, O_DSYNC), and reads of data that is not
// in memory.
#pragma once

#include <cstdint>
#include <optional>

#include "../request/request.hpp"
#include "check.hpp"
#include "file_hints.hpp"

namespace doorbell::aio {

/// Whether an iocb that has not been checked is a plain read: a pread of at least one byte, at an offset that is not
/// negative, without RWF_ flags and without a priority. Then try_read_inline() checks the rest.
[[nodiscard]] bool is_plain_read(const iocb_abi& asked) noexcept;

/// Whether DOORBELL_READS=block is set: as in the kernel's io_submit(2), a read through the page cache completes before
/// the call returns, however long the disk takes.
[[nodiscard]] bool reads_block() noexcept;

/// Tries to carry out a plain read inline. @param hint the kind of its file.
/// @return the event's res. Nothing: the read would have to wait, is refused, or its result is unclear; it is not
/// complete, but may have filled a part of the buffer.
[[nodiscard]] std::optional<std::int64_t> try_read_inline(const iocb_abi& asked, file_hints::kind hint,
                                                          file_hints& hints) noexcept;

/// When submit tries to complete a checked request inline. `always`: writes, and reads that may block, in their order.
/// `first`: a read of data that may be in memory, if no earlier request of the same call still waits to be started, or
/// if the data is likely to be in the page cache (kioctx::start()).
/// @param as_the_kernel whether the request comes from a call by handle.
/// @param was_tried whether submit has tried the request before the check, if it is a plain read.
[[nodiscard]] request::inline_policy when_to_try(const request& checked, const file_facts& file, bool as_the_kernel,
                                                 bool was_tried, file_hints& hints) noexcept;

/// Tries to complete a checked request inline. @return as try_read_inline(). There always is a result for a write, and
/// for a read that may block (inline_policy::always).
[[nodiscard]] std::optional<std::int64_t> transfer_inline(const request& checked, file_hints& hints) noexcept;

}  // namespace doorbell::aio
