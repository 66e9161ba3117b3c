/** The names of the system calls that the default seccomp profile allows, by what they are for. Facts; no logic. */

/** Allowed in every container. */
export const COMMON_SYSCALLS: readonly string[] = names(
    // Open, read, write, and descriptors
    `open openat openat2 creat close close_range dup dup2 dup3 pipe pipe2 read readv pread64 preadv preadv2 readahead
    write writev pwrite64 pwritev pwritev2 lseek _llseek fcntl fcntl64 flock ioctl copy_file_range sendfile sendfile64
    splice tee vmsplice fallocate fadvise64 fadvise64_64 ftruncate ftruncate64 truncate truncate64 fsync fdatasync sync
    syncfs sync_file_range memfd_create memfd_secret name_to_handle_at cachestat`,
    // Files and folders
    `access faccessat faccessat2 chdir fchdir getcwd chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32
    fchownat lchown lchown32 getdents getdents64 link linkat symlink symlinkat readlink readlinkat mkdir mkdirat mknod
    mknodat rename renameat renameat2 rmdir unlink unlinkat umask stat stat64 lstat lstat64 fstat fstat64 fstatat64
    newfstatat statx statfs statfs64 fstatfs fstatfs64 utime utimes utimensat utimensat_time64 futimesat listmount
    statmount getxattr getxattrat lgetxattr fgetxattr setxattr setxattrat lsetxattr fsetxattr listxattr listxattrat
    llistxattr flistxattr removexattr removexattrat lremovexattr fremovexattr`,
    // Waiting for events
    `select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 inotify_init
    inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark io_setup io_submit io_getevents io_pgetevents
    io_pgetevents_time64 io_cancel io_destroy`,
    // Memory
    `brk mmap mmap2 munmap mremap remap_file_pages mprotect madvise mincore msync mlock mlock2 mlockall munlock
    munlockall mseal membarrier map_shadow_stack pkey_alloc pkey_free pkey_mprotect process_mrelease`,
    // Processes and threads (clone has rules of its own)
    `execve execveat exit exit_group fork vfork wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid
    getsid setsid pidfd_open pidfd_send_signal set_tid_address set_thread_area get_thread_area set_robust_list
    get_robust_list rseq futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue prctl getcpu uretprobe`,
    // Signals
    `kill tkill tgkill pause sigaltstack sigprocmask sigreturn rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    restart_syscall`,
    // Who the process is
    `getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32 getresuid getresuid32
    getresgid getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
    setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset`,
    // Confining itself further
    `seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self lsm_get_self_attr lsm_set_self_attr
    lsm_list_modules`,
    // Limits, scheduling and accounting
    `getrlimit ugetrlimit setrlimit prlimit64 getrusage times getpriority setpriority ioprio_get ioprio_set
    sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler
    sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    sched_rr_get_interval_time64 sched_yield`,
    // Time
    `time gettimeofday adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64`,
    // Network (socket has rules of its own; socketcall is the 32-bit way to all of it)
    `socketcall socketpair bind connect listen accept accept4 shutdown getsockname getpeername getsockopt setsockopt
    send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64`,
    // System V and POSIX IPC
    `ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
    mq_open mq_unlink mq_getsetattr mq_notify mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64`,
    // The system and randomness
    `uname sysinfo getrandom`,
);

/** Allowed besides on kernels from 4.8 on. */
export const PTRACE_SYSCALLS: readonly string[] = names("process_vm_readv process_vm_writev ptrace");

/** Allowed besides on these architectures, by Go's name. */
export const ARCHITECTURE_SYSCALLS: Readonly<Record<string, readonly string[]>> = {
    amd64: names("arch_prctl modify_ldt"),
    arm64: names("arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
};

/** Allowed besides to who has the capability (without `CAP_`): what the kernel would ask it for anyway. */
export const CAPABILITY_SYSCALLS: Readonly<Record<string, readonly string[]>> = {
    BPF: names("bpf"),
    DAC_READ_SEARCH: names("open_by_handle_at"),
    PERFMON: names("perf_event_open"),
    SYS_ADMIN: names(
        `bpf perf_event_open clone clone3 setns unshare mount mount_setattr move_mount open_tree fsconfig fsmount fsopen
        fspick umount umount2 quotactl quotactl_fd fanotify_init lookup_dcookie sethostname setdomainname syslog`,
    ),
    SYS_BOOT: names("reboot"),
    SYS_CHROOT: names("chroot"),
    SYS_MODULE: names("init_module finit_module delete_module"),
    SYS_NICE: names("get_mempolicy set_mempolicy set_mempolicy_home_node mbind"),
    SYS_PACCT: names("acct"),
    SYS_PTRACE: names("kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    SYS_RAWIO: names("iopl ioperm"),
    SYS_TIME: names("settimeofday stime clock_settime clock_settime64"),
    SYS_TTY_CONFIG: names("vhangup"),
    SYSLOG: names("syslog"),
};

function names(...texts: string[]): string[] {
    return texts.flatMap((text) => text.trim().split(/\s+/));
}
