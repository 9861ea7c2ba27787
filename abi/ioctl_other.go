//go:build mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64

package abi

// The direction of an ioctl, in its place in the number. These architectures
// number them after other systems.
const (
	iocR  = 2 << 29
	iocW  = 4 << 29
	iocRW = iocR | iocW
)
