# System calls that reach the machine: modules, keys, other kernels, tracing, clocks, swap.
# ends: exited 0
# prints: had []

import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
had = []
calls = dict(ptrace=101, syslog=103, acct=163, settimeofday=164, swapon=167, swapoff=168, reboot=169, init_module=175,
             delete_module=176, quotactl=179, clock_settime=227, kexec_load=246, add_key=248, request_key=249, keyctl=250,
             perf_event_open=298, name_to_handle_at=303, open_by_handle_at=304, process_vm_readv=310, process_vm_writev=311,
             kcmp=312, finit_module=313, bpf=321, userfaultfd=323, io_uring_setup=425, open_tree=428, move_mount=429,
             fsopen=430, pidfd_getfd=438)
if platform.machine() == 'x86_64':
    for name, number in calls.items():
        # With arguments that mean nothing: whoever is let in is told so by another error than EPERM.
        for number in (number, number | 1 << 30):
            ctypes.set_errno(0)
            if libc.syscall(number, -1, -1, -1, -1, -1) != -1 or ctypes.get_errno() not in (1, 38):
                had.append((name, number, ctypes.get_errno()))
print('had', had)
