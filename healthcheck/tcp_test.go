package healthcheck

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTCPAcceptedIsHealthy(t *testing.T) {
	l := listen(t)
	tr, err := probe(t, target(TCP, l.Addr().String()))
	if err != nil || tr.Phase != PhaseDone {
		t.Fatalf("got %v in phase %s", err, tr.Phase)
	}
	if tr.Remote.String() != l.Addr().String() || !tr.Local.IsValid() {
		t.Errorf("addresses %s -> %s are not those of the connection", tr.Local, tr.Remote)
	}
}

func TestTCPRefusedIsAMiss(t *testing.T) {
	l := listen(t)
	l.Close()
	tr, err := probe(t, target(TCP, l.Addr().String()))
	if err == nil || errors.Is(err, ErrOwn) || tr.Phase != PhaseConnect {
		t.Fatalf("got %v in phase %s", err, tr.Phase)
	}
	if want := "connect " + l.Addr().String() + ": connection refused"; err.Error() != want {
		t.Errorf("reason is %q, want %q", err, want)
	}
}

// A connect-only probe resets: no TIME_WAIT may stay behind on our side.
func TestTCPProbeLeavesNoTimeWait(t *testing.T) {
	l := listen(t)
	got := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err
			return
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		got <- err
	}()
	if _, err := probe(t, target(TCP, l.Addr().String())); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw %v, want a reset (io.EOF is %v)", err, errors.Is(err, io.EOF))
	}
}

// With its backlog full a host drops what comes next: nothing answers.
func TestTCPFullBacklogIsAMissAfterTheTimeout(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port)).String()
	for range 4 { // more than the backlog holds; those that wait stay
		if c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond); err == nil {
			defer c.Close()
		}
	}
	tg := target(TCP, addr)
	tg.Timeout = 200 * time.Millisecond
	tr, err := probe(t, tg)
	if err == nil || errors.Is(err, ErrOwn) || tr.Phase != PhaseConnect || !strings.HasSuffix(err.Error(), "no answer within 200ms") {
		t.Fatalf("got %v in phase %s", err, tr.Phase)
	}
}
