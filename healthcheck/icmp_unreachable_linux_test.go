package healthcheck

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// router waits for an echo request and answers it with a word of its own: that
// its destination is unreachable. It is to be opened in the network where it
// is to be heard.
func router(t *testing.T, code int) (answer func()) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		t.Error(err)
		return func() {}
	}
	s := os.NewFile(uintptr(fd), "router")
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	return func() {
		defer s.Close()
		var packet [1500]byte
		for {
			n, _, err := unix.Recvfrom(fd, packet[:], 0)
			if err != nil {
				t.Errorf("no echo request came: %v", err)
				return
			}
			if body := payload(packet[:n]); len(body) > 0 && body[0] == byte(ipv4.ICMPTypeEcho) {
				// RFC 792: the header of the packet and its first 8 bytes.
				word := icmp.Message{Type: ipv4.ICMPTypeDestinationUnreachable, Code: code, Body: &icmp.DstUnreach{Data: packet[:n]}}
				wire, err := word.Marshal(nil)
				if err == nil {
					err = unix.Sendto(fd, wire, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[12:16])})
				}
				if err != nil {
					t.Errorf("answer: %v", err)
				}
				return
			}
		}
	}
}

// What a router says of the way ends the probe at once, with its word as the
// reason: an unreachable host is a miss, as with TCP, and an unreachable
// network may be the cluster's fault or ours.
func TestPingHearsARouterThatSaysUnreachable(t *testing.T) {
	for name, c := range map[string]struct {
		groups   string
		code     int // RFC 792
		errno    syscall.Errno
		disputed bool
	}{
		"host, raw":     {"1 0", 1, syscall.EHOSTUNREACH, false},
		"host":          {"0 0", 1, syscall.EHOSTUNREACH, false},
		"network, raw":  {"1 0", 0, syscall.ENETUNREACH, true},
		"network":       {"0 0", 0, syscall.ENETUNREACH, true},
		"prohibited":    {"0 0", 13, syscall.EHOSTUNREACH, false},
		"no such proto": {"0 0", 2, syscall.ENOPROTOOPT, false},
	} {
		t.Run(name, func(t *testing.T) {
			apart(t, func(t *testing.T) {
				pingGroups(t, c.groups)
				if err := os.WriteFile("/proc/thread-self/root/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0o644); err != nil {
					t.Error(err)
				}
				done := make(chan struct{})
				answer := router(t, c.code)
				go func() { defer close(done); answer() }()
				start := time.Now()
				tr, err := probe(t, target(ICMP, "127.0.0.1"))
				<-done
				if !errors.Is(err, c.errno) || isOwn(err) != c.disputed || disputed(err) != c.disputed || tr.Phase != PhaseRead {
					t.Errorf("got %v in phase %s after %s", err, tr.Phase, time.Since(start))
				}
			})
		})
	}
}
