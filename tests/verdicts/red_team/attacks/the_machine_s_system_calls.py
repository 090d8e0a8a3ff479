# System calls that reach the machine.
# outcome: failed
# observation: had=[]

import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
had = []
if platform.machine() == 'x86_64':
    calls = dict(ptrace=101, syslog=103, settimeofday=164, reboot=169, init_module=175, kexec_load=246, add_key=248,
                 request_key=249, keyctl=250, perf_event_open=298, process_vm_readv=310, finit_module=313, bpf=321,
                 userfaultfd=323, io_uring_setup=425, open_tree=428, fsopen=430, pidfd_getfd=438)
    for name, number in calls.items():
        ctypes.set_errno(0)
        # Wrong arguments: who is let in is told so by another error than EPERM.
        if libc.syscall(number, -1, -1, -1, -1, -1) != -1 or ctypes.get_errno() != 1:
            had.append(name)
import socket
for kind in (38, 40, 17, 44, 15, 21, 30, 31):
    try:
        socket.socket(kind, socket.SOCK_STREAM).close()
        had.append(('socket', kind))
    except PermissionError:
        pass
    except OSError as error:
        had.append(('socket', kind, str(error)))
raise AssertionError(f'had={had}')
