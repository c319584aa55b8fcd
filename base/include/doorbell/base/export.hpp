// SPDX-License-Identifier: Apache-2.0
//
// DOORBELL_EXPORT marks what a shared doorbell shows; everything else is hidden. It is right for users of either
// library and for its own build, since on Linux an import needs no mark.
#pragma once

#define DOORBELL_EXPORT __attribute__((visibility("default")))
