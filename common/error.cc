#include "common/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace dongle {

const char* to_string(Errc code) {
  switch (code) {
    case Errc::InvalidArgument: return "invalid_argument";
    case Errc::NotFound: return "not_found";
    case Errc::Exists: return "exists";
    case Errc::Busy: return "busy";
    case Errc::Refused: return "refused";
    case Errc::Timeout: return "timeout";
    case Errc::Unreachable: return "unreachable";
    case Errc::Permission: return "permission";
    case Errc::Unsupported: return "unsupported";
    case Errc::Protocol: return "protocol";
    case Errc::Io: return "io";
    case Errc::Full: return "full";
    case Errc::Cancelled: return "cancelled";
  }
  return "unknown";
}

std::string Error::message() const {
  return sys == 0 ? context : context + ": " + std::strerror(sys);
}

Errc errc_from_errno(int sys) {
  switch (sys) {
    case EINVAL: return Errc::InvalidArgument;
    case ENOENT:
    case ESRCH:
    case ENODEV:
    case ENXIO: return Errc::NotFound;
    case EEXIST:
    case EADDRINUSE: return Errc::Exists;
    case EBUSY: return Errc::Busy;
    case ECONNREFUSED:
    case ECONNRESET: return Errc::Refused;
    case ETIMEDOUT: return Errc::Timeout;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL: return Errc::Unreachable;
    case EPERM:
    case EACCES: return Errc::Permission;
    case EOPNOTSUPP:
    case ENOSYS:
    case EAFNOSUPPORT: return Errc::Unsupported;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC: return Errc::Full;
    case ECANCELED: return Errc::Cancelled;
    default: return Errc::Io;
  }
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
  std::abort();
}

}  // namespace dongle
