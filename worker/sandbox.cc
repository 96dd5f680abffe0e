#include "worker/sandbox.h"

#include <linux/capability.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

namespace dongle {
namespace {

// Refused with EPERM. A list of what is denied, not of what is allowed, so that a C library or sanitizer that calls
// something new doesn't break a worker in the field.
constexpr std::array kDenied{
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(syslog),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(personality),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
#ifndef __SANITIZE_ADDRESS__
    // The leak sanitizer stops its own process at exit by these.
    SCMP_SYS(ptrace),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
#endif
};

Result<void> drop_capabilities() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "no_new_privs");
  // Without privilege the bounding set can't be shrunk, and with no_new_privs it can't be drawn from.
  for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; ++cap) prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  if (syscall(SYS_capset, &header, none) != 0) return fail_errno(errno, "drop capabilities");
  return {};
}

// libseccomp returns negative errno values; adds them up to the first failure.
class Filter {
 public:
  Filter() { context_.reset(seccomp_init(SCMP_ACT_ALLOW)); }
  template <class... Compare>
  void deny(int syscall_number, int error, Compare... compare) {
    if (status_ == 0)
      status_ = seccomp_rule_add(context_.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)), syscall_number,
                                 sizeof...(compare), compare...);
  }
  int load() { return !context_ ? -ENOMEM : status_ != 0 ? status_ : seccomp_load(context_.get()); }

 private:
  std::unique_ptr<void, decltype(&seccomp_release)> context_{nullptr, seccomp_release};
  int status_ = 0;
};

Result<void> filter_system_calls() {
  Filter filter;
  for (int call : kDenied) filter.deny(call, EPERM);
#ifndef __SANITIZE_ADDRESS__
  // A thread is no new process. clone3 hides its flags from filters; without it libraries fall back to clone.
  filter.deny(SCMP_SYS(clone), EPERM, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
  filter.deny(SCMP_SYS(clone3), ENOSYS);
#endif
  // AF_UNIX (1), AF_INET (2), AF_INET6 (10) and rtnetlink (16, protocol 0) alone.
  for (scmp_datum_t family = AF_INET + 1; family < AF_INET6; ++family)
    filter.deny(SCMP_SYS(socket), EPERM, SCMP_A0(SCMP_CMP_EQ, family));
  for (scmp_datum_t family = AF_INET6 + 1; family < AF_NETLINK; ++family)
    filter.deny(SCMP_SYS(socket), EPERM, SCMP_A0(SCMP_CMP_EQ, family));
  filter.deny(SCMP_SYS(socket), EPERM, SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
  filter.deny(SCMP_SYS(socket), EPERM, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_NE, NETLINK_ROUTE));
  if (int status = filter.load(); status != 0) return fail_errno(-status, "seccomp");
  return {};
}

}  // namespace

Result<void> enter_sandbox() {
  if (auto dropped = drop_capabilities(); !dropped) return dropped;
  return filter_system_calls();
}

}  // namespace dongle
