// SPDX-License-Identifier: Apache-2.0
//
// Included before all else by each header of doorbell::asio, so that an older Boost is reported by one sentence instead of by
// errors in templates.
#pragma once

#include <doorbell/base/requires_cxx20.hpp>

#include <boost/version.hpp>

#if BOOST_VERSION < 108100
#error "doorbell::asio requires Boost 1.81 or later; the rest of doorbell accepts older versions."
#endif
