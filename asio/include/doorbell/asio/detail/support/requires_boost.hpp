// SPDX-License-Identifier: Apache-2.0
//
// Each header of doorbell::asio includes this header before any other. With an older Boost, the compiler's first error
// is then one sentence instead of errors in templates.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <boost/version.hpp>

#if BOOST_VERSION < 108100
#error "doorbell::asio requires Boost 1.81 or later; the rest of doorbell accepts older versions."
#endif
