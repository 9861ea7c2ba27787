package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A terminal takes input from whoever has it as the controlling one (TIOCSTI), and the console from its
// clipboard (TIOCLINUX): the program could type for the shell that runs when it has ended.

// ioctlNumbers are the numbers of ioctl(2), by architecture of the system call.
var ioctlNumbers = map[string][]struct{ arch, number uint32 }{
	"amd64":   {{unix.AUDIT_ARCH_X86_64, 16}, {unix.AUDIT_ARCH_X86_64, x32 | 514}, {unix.AUDIT_ARCH_X86_64, x32 | 16}, {unix.AUDIT_ARCH_I386, 54}},
	"386":     {{unix.AUDIT_ARCH_I386, 54}},
	"arm64":   {{unix.AUDIT_ARCH_AARCH64, 29}, {unix.AUDIT_ARCH_ARM, 54}},
	"arm":     {{unix.AUDIT_ARCH_ARM, 54}},
	"riscv64": {{unix.AUDIT_ARCH_RISCV64, 29}},
	"ppc64le": {{unix.AUDIT_ARCH_PPC64LE, 54}},
	"loong64": {{unix.AUDIT_ARCH_LOONGARCH64, 29}},
}

// x32 is set in the numbers of x32 system calls.
const x32 = 0x40000000

// Where things are in struct seccomp_data: seccomp(2).
const (
	dataNumber = 0
	dataArch   = 4
	dataArg1   = 16 + 8 // its lower half, on the machines above
)

// filterSystemCalls forbids the calling thread to type.
func filterSystemCalls() error {
	program, err := typingFilter(runtime.GOARCH)
	if err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0); err != nil {
		return fmt.Errorf("forbid typing on the terminal: %w", err)
	}
	return nil
}

// typingFilter returns a program in BPF for a kind of machine.
func typingFilter(machine string) ([]unix.SockFilter, error) {
	calls, ok := ioctlNumbers[machine]
	if !ok {
		return nil, fmt.Errorf("system calls of machines of type %s are not known", machine)
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: skip}
	}
	ret := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	refuse := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	var program []unix.SockFilter
	for _, c := range calls {
		program = append(program,
			load(dataArch), unless(c.arch, 7),
			load(dataNumber), unless(c.number, 5),
			load(dataArg1),
			unless(unix.TIOCSTI, 1), refuse,
			unless(unix.TIOCLINUX, 1), refuse)
	}
	return append(program, ret(unix.SECCOMP_RET_ALLOW)), nil
}
