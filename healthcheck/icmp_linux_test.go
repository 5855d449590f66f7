package healthcheck

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// apart runs f on a thread in a network of its own, with loopback up and
// nothing else. The thread ends with it.
func apart(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: nobody else gets this thread
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("make a network: %v", err)
			return
		}
		if err := loopbackUp(); err != nil {
			t.Errorf("set up loopback: %v", err)
			return
		}
		f(t)
	}()
	<-done
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// pingGroups says which groups may open ping sockets in this network.
func pingGroups(t *testing.T, from string) {
	t.Helper()
	if err := os.WriteFile("/proc/thread-self/root/proc/sys/net/ipv4/ping_group_range", []byte(from), 0o644); err != nil {
		t.Errorf("set ping_group_range: %v", err)
	}
}

// withoutRaw takes CAP_NET_RAW from this thread.
func withoutRaw(t *testing.T) {
	t.Helper()
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&h, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1 << unix.CAP_NET_RAW
	data[0].Permitted &^= 1 << unix.CAP_NET_RAW
	if err := unix.Capset(&h, &data[0]); err != nil {
		t.Errorf("drop CAP_NET_RAW: %v", err)
	}
}

func TestPingIsAnswered(t *testing.T) {
	for _, groups := range []string{"1 0", "0 0"} { // nobody: a raw socket; root: a ping socket
		apart(t, func(t *testing.T) {
			pingGroups(t, groups)
			for _, address := range []string{"127.0.0.1", "::1", "127.0.0.1:80"} {
				s, err := openPing(netip.MustParseAddr("127.0.0.1"))
				if err != nil || s.raw != (groups == "1 0") {
					t.Errorf("groups %s: %v", groups, err)
					return
				}
				s.Close()
				tr, err := probe(t, target(ICMP, address))
				if err != nil || tr.Phase != PhaseDone || tr.Answer <= 0 {
					t.Errorf("groups %s, %s: got %v in phase %s", groups, address, err, tr.Phase)
				}
			}
		})
	}
}

func TestPingWithoutAnswerIsAMissAfterTheTimeout(t *testing.T) {
	for _, groups := range []string{"1 0", "0 0"} {
		apart(t, func(t *testing.T) {
			pingGroups(t, groups)
			if err := os.WriteFile("/proc/thread-self/root/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0o644); err != nil {
				t.Error(err)
			}
			tg := target(ICMP, "127.0.0.1")
			tg.Timeout = 100 * time.Millisecond
			tr, err := probe(t, tg)
			if err == nil || isOwn(err) || tr.Phase != PhaseRead || !strings.HasPrefix(err.Error(), "ping 127.0.0.1: no answer within ") {
				t.Errorf("groups %s: got %v in phase %s", groups, err, tr.Phase)
			}
		})
	}
}

// Our own missing route and a withdrawn network look the same, as for TCP.
func TestPingUnreachableNetworkIsDisputed(t *testing.T) {
	apart(t, func(t *testing.T) {
		_, err := probe(t, target(ICMP, "192.0.2.1"))
		if !errors.Is(err, syscall.ENETUNREACH) || !isOwn(err) || !disputed(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPingThatIsNotAllowedIsOurOwnFaultWithAHint(t *testing.T) {
	apart(t, func(t *testing.T) {
		pingGroups(t, "1 0")
		withoutRaw(t)
		for _, address := range []string{"127.0.0.1", "::1"} {
			_, err := probe(t, target(ICMP, address))
			if !errors.Is(err, ErrNoPing) || !errors.Is(err, ErrOwn) || !strings.Contains(err.Error(), "net.ipv4.ping_group_range") {
				t.Errorf("%s: got %v", address, err)
			}
		}
		if err := PingPossible(); !errors.Is(err, ErrNoPing) {
			t.Errorf("got %v", err)
		}
		pingGroups(t, "0 0")
		if err := PingPossible(); err != nil {
			t.Errorf("with a ping socket: %v", err)
		}
	})
}

func TestPingForbiddenAddress(t *testing.T) {
	if _, err := NewProbe(target(ICMP, "169.254.169.254"), ProbeConfig{}); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

// reply is an echo reply as a socket delivers it.
func reply(t testing.TB, e echo, kind icmp.Type) []byte {
	t.Helper()
	wire, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: e.id, Seq: e.seq, Data: e.data}}).Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func inIPv4(packet []byte) []byte {
	h := make([]byte, 24) // with options
	h[0] = 4<<4 | 6
	return append(h, packet...)
}

func TestPingTakesOnlyTheReplyToItsOwnRequest(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, e := range []echo{newEcho(v4, false), newEcho(v4, true), newEcho(v6, false), newEcho(v6, true)} {
		kind, request := icmp.Type(ipv4.ICMPTypeEchoReply), icmp.Type(ipv4.ICMPTypeEcho)
		if e.v6 {
			kind, request = ipv6.ICMPTypeEchoReply, ipv6.ICMPTypeEchoRequest
		}
		deliver := func(packet []byte) []byte {
			if e.raw && !e.v6 {
				return inIPv4(packet)
			}
			return packet
		}
		if !e.answers(deliver(reply(t, e, kind))) {
			t.Errorf("the reply is not taken by %+v", e)
		}
		number, seq, data := e, e, newEcho(v4, false)
		number.id, seq.seq = e.id^1, e.seq^1
		data.id, data.seq = e.id, e.seq
		for name, packet := range map[string][]byte{
			"a request": reply(t, e, request), "another sequence": reply(t, seq, kind), "other data": reply(t, data, kind),
			"nothing": nil, "a part": reply(t, e, kind)[:6],
		} {
			if e.answers(deliver(packet)) {
				t.Errorf("%s is taken by %+v", name, e)
			}
		}
		if e.answers(deliver(reply(t, number, kind))) == e.raw {
			t.Errorf("another number: taken by %+v", e)
		}
	}
}

func FuzzPing(f *testing.F) {
	e := newEcho(netip.MustParseAddr("192.0.2.1"), true)
	f.Add(inIPv4(reply(f, e, ipv4.ICMPTypeEchoReply)), false)
	f.Add(reply(f, e, ipv6.ICMPTypeEchoReply), true)
	f.Add([]byte{0x4f, 0}, false)
	f.Fuzz(func(t *testing.T, packet []byte, v6 bool) {
		e := e
		e.v6 = v6
		if e.answers(packet) && !strings.Contains(string(packet), string(e.data)) {
			t.Fatalf("taken without our data: %x", packet)
		}
	})
}
