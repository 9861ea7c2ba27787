//go:build !mips && !mipsle && !mips64 && !mips64le && !ppc64 && !ppc64le && !sparc64

package abi

// The direction of an ioctl, in its place in the number.
const (
	iocW  = 1 << 30
	iocR  = 2 << 30
	iocRW = 3 << 30
)
