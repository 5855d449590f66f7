package lab

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"time"
)

// callBarely makes so many connections to the doors in turn, asks, reads and
// closes, by system calls alone, and returns the CPU time of its thread.
func callBarely(ctx context.Context, doors []netip.AddrPort, times int) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadCPU()
	buf := make([]byte, 512)
	for i := range times {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		door := doors[i%len(doors)]
		if err := callOnce(door, buf); err != nil {
			return 0, fmt.Errorf("bare loop: %s: %w", door, err)
		}
	}
	return threadCPU() - before, nil
}

func callOnce(door netip.AddrPort, buf []byte) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	second := &syscall.Timeval{Sec: 1}
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, second); err != nil {
		return err
	}
	if err := syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}); err != nil {
		return err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(door.Port()), Addr: door.Addr().As4()}); err != nil {
		return err
	}
	if _, err := syscall.Write(fd, []byte("GET /healthz HTTP/1.1\r\nHost: many.test\r\n\r\n")); err != nil {
		return err
	}
	_, err = syscall.Read(fd, buf)
	return err
}

func threadCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_THREAD, &r) // fails for bad arguments only
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
