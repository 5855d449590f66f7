package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFaultsOfOurOwnAreMarked(t *testing.T) {
	for _, errno := range ownErrnos {
		err := fmt.Errorf("connect: %w", plain(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}, 0))
		if got := blame(t.Context(), err); !errors.Is(got, ErrOwn) || got.Error() != err.Error() {
			t.Errorf("%v: got %v, own %v", errno, got, errors.Is(got, ErrOwn))
		}
	}
	for _, errno := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.EPIPE} {
		if errors.Is(blame(t.Context(), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}), ErrOwn) {
			t.Errorf("%v is the cluster's fault, not ours", errno)
		}
	}
}

func TestResolverFailureIsOurOwn(t *testing.T) {
	tg := target(TCP, "a.lab.test:80")
	for name, lookup := range map[string]func(context.Context, string) ([]netip.Addr, error){
		"no such name": func(context.Context, string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "a.lab.test", IsNotFound: true}
		},
		"no address": func(context.Context, string) ([]netip.Addr, error) { return nil, nil },
		"too slow": func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, &net.DNSError{Err: "i/o timeout", Name: "a.lab.test", IsTimeout: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			tg.Timeout = 50 * time.Millisecond
			tr, err := probeWith(t, tg, ProbeConfig{Lookup: lookup})
			if !errors.Is(err, ErrOwn) || tr.Phase != PhaseResolve || !strings.HasPrefix(err.Error(), "resolve a.lab.test: ") {
				t.Fatalf("got %v in phase %s", err, tr.Phase)
			}
		})
	}
}

func TestTheSystemsResolverIsAskedForHostNames(t *testing.T) {
	tg := target(TCP, "nobody.invalid:80") // RFC 6761 section 6.4: never resolves
	tg.Timeout = time.Second
	if tr, err := probe(t, tg); !errors.Is(err, ErrOwn) || tr.Phase != PhaseResolve {
		t.Fatalf("got %v in phase %s", err, tr.Phase)
	}
	l := listen(t)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if tr, err := probe(t, target(TCP, "localhost:"+port)); err != nil || tr.Remote.String() != l.Addr().String() {
		t.Fatalf("got %v at %s", err, tr.Remote)
	}
}

func TestSecondAddressIsTriedWithinTheSameTime(t *testing.T) {
	l := listen(t)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		// 127.0.0.9 refuses at once.
		return []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	if tr, err := probeWith(t, target(TCP, "a.lab.test:"+port), ProbeConfig{Lookup: lookup}); err != nil || tr.Remote.Addr().String() != "127.0.0.1" {
		t.Fatalf("got %v at %s", err, tr.Remote)
	}
}

// The refusal of one address counts, whatever is wrong with our way to others.
func TestAnOwnFaultOnOneAddressDoesNotExcuseAnother(t *testing.T) {
	l := listen(t)
	l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, order := range [][]string{{"169.254.1.1", "127.0.0.1"}, {"127.0.0.1", "169.254.1.1"}} {
		lookup := func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(order[0]), netip.MustParseAddr(order[1])}, nil
		}
		_, err := probeWith(t, target(TCP, "a.lab.test:"+port), ProbeConfig{Lookup: lookup})
		if err == nil || errors.Is(err, ErrOwn) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v: got %v", order, err)
		}
	}
}

func TestLocalPortsUsedUpIsOurOwn(t *testing.T) {
	l := listen(t)
	tg := target(TCP, l.Addr().String())
	d := newDialer(tg, ProbeConfig{})
	port := 0
	// Every connection gets the same local port, as if it were the last one.
	d.net.Control = func(_, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) {
			err = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
				syscall.Bind(int(fd), &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}))
		})
		return errors.Join(cerr, err)
	}
	first, err := d.connect(t.Context(), &Trace{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	port = first.LocalAddr().(*net.TCPAddr).Port
	err = blame(t.Context(), tcpProbe(d)(t.Context()))
	if !errors.Is(err, ErrOwn) || !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Fatalf("got %v, own %v", err, errors.Is(err, ErrOwn))
	}
}

func TestFileDescriptorsUsedUpIsOurOwn(t *testing.T) {
	l := listen(t)
	p, err := NewProbe(target(TCP, l.Addr().String()), ProbeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err = p(t.Context())
	if e := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); e != nil {
		t.Fatal(e)
	}
	if !errors.Is(err, ErrOwn) || !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("got %v, own %v", err, errors.Is(err, ErrOwn))
	}
}

func TestAProbeThatWeEndIsOurOwn(t *testing.T) {
	for _, kind := range []CheckType{HTTP, TLS} {
		p, err := NewProbe(target(kind, listen(t).Addr().String()), ProbeConfig{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := p(ctx); !errors.Is(err, ErrOwn) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, own %v", kind, err, errors.Is(err, ErrOwn))
		}
	}
}

func TestMetadataAndLinkLocalAreRefusedAtDial(t *testing.T) {
	for _, addr := range []string{
		"169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fe80::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "::ffff:0:169.254.169.254",
		"::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::168.63.129.16",
		"64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1::169.254.169.254",
		"2002:a9fe:a9fe::1", "2002:c000:c0:1::1", "2001:0:a9fe:a9fe::1", "2001:0:c000:201:0:1234:5601:5601",
	} {
		a := netip.MustParseAddr(addr)
		t.Run(addr, func(t *testing.T) {
			if _, err := NewProbe(target(HTTP, net.JoinHostPort(addr, "80")), ProbeConfig{}); !errors.Is(err, ErrForbidden) {
				t.Errorf("as an address in the config: %v", err)
			}
			// A name that moves there between two probes.
			lookup := func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{a}, nil }
			tr, err := probeWith(t, target(HTTP, "a.lab.test:80"), ProbeConfig{Lookup: lookup})
			if !errors.Is(err, ErrForbidden) || !errors.Is(err, ErrOwn) || tr.Remote.IsValid() {
				t.Errorf("as an answer of the resolver: %v, dialled %s", err, tr.Remote)
			}
		})
	}
}

func TestARefusedAddressCanBeAllowedByName(t *testing.T) {
	c := ProbeConfig{Allow: []netip.Prefix{netip.MustParsePrefix("169.254.7.0/24")}}
	if _, err := NewProbe(target(TCP, "169.254.7.1:80"), c); err != nil {
		t.Error(err)
	}
	if _, err := NewProbe(target(TCP, "169.254.169.254:80"), c); !errors.Is(err, ErrForbidden) {
		t.Errorf("its neighbour got through: %v", err)
	}
}

func TestOrdinaryAddressesAreNotRefused(t *testing.T) {
	for _, addr := range []string{
		"127.0.0.1", "::1", "10.0.0.1", "192.0.2.1", "192.0.0.193", "168.63.129.17", "2001:db8::1", "fd00::1",
		"64:ff9b::192.0.2.1", "64:ff9b:1::192.0.2.1", "2002:c000:201::1", "2001:0:c000:201:0:1234:3fff:fdfe",
	} {
		if err := Forbidden(netip.MustParseAddr(addr), nil); err != nil {
			t.Error(err)
		}
	}
}

func TestAWrappedAddressIsAllowedByEitherForm(t *testing.T) {
	a := netip.MustParseAddr("2002:a9fe:a9fe::1")
	for _, allow := range []string{"169.254.169.254/32", "2002:a9fe:a9fe::/48"} {
		if err := Forbidden(a, []netip.Prefix{netip.MustParsePrefix(allow)}); err != nil {
			t.Errorf("allow %s: %v", allow, err)
		}
	}
	err := Forbidden(a, []netip.Prefix{netip.MustParsePrefix("169.254.169.0/25")})
	if !errors.Is(err, ErrForbidden) || !strings.HasPrefix(err.Error(), "2002:a9fe:a9fe::1 leads to 169.254.169.254: ") {
		t.Errorf("got %v", err)
	}
}
