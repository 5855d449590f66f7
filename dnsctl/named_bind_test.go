package dnsctl

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// named is a real BIND on loopback, with its own directory.
type named struct {
	addr netip.AddrPort
	dir  string
}

const ordersZone = `$TTL 30
@ IN SOA ns1 hostmaster 1 300 60 604800 30
@ IN NS ns1
ns1 IN A 127.0.0.1
a IN A 192.0.2.1
b IN A 192.0.2.2
orders IN CNAME a
_pointsman.orders IN TXT "v=1 term=1 epoch=0 op=op-1 by=ctl-1"
unmarked IN CNAME a
busy IN A 192.0.2.7
cursed IN CNAME a
_pointsman.cursed IN CNAME elsewhere.example.
denied IN CNAME a
`

const ordersPolicy = `
	grant ctl. name orders.lab.test. CNAME; grant ctl. name _pointsman.orders.lab.test. TXT;
	grant ctl. name unmarked.lab.test. CNAME; grant ctl. name _pointsman.unmarked.lab.test. TXT;
	grant ctl. name busy.lab.test. CNAME; grant ctl. name _pointsman.busy.lab.test. TXT;
	grant ctl. name cursed.lab.test. CNAME; grant ctl. name _pointsman.cursed.lab.test. TXT;
	grant ctl. name fresh.lab.test. CNAME; grant ctl. name _pointsman.fresh.lab.test. TXT;
	grant hand. zonesub ANY;`

// startNamed runs BIND with the zone lab.test., the key ctl. with least rights
// and the key hand. that may change everything, as people do.
func startNamed(t testing.TB) *named {
	t.Helper()
	return runNamed(t, func(port int, dir string) string {
		write(t, filepath.Join(dir, "lab.test.zone"), ordersZone)
		return fmt.Sprintf(`
key "ctl." { algorithm hmac-sha256; secret "%s"; };
key "hand." { algorithm hmac-sha256; secret "%s"; };
options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; notify no; dnssec-validation no; tcp-clients 300;
};
controls {};
zone "lab.test." { type primary; file "lab.test.zone"; update-policy {%s }; };
`, secretText, otherText, dir, port, ordersPolicy)
	}, "lab.test.")
}

// runNamed starts BIND with the config that conf returns and waits until it
// answers for the zone. A port that somebody else took meanwhile is another try.
func runNamed(t testing.TB, conf func(port int, dir string) string, zone string) *named {
	t.Helper()
	bin, err := exec.LookPath("named")
	if err != nil {
		bin = "/usr/sbin/named"
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatal("BIND's named is not installed: run `make deps`")
	}
	for range 5 {
		n := &named{dir: t.TempDir()}
		port := freePort(t)
		n.addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
		file := filepath.Join(n.dir, "named.conf")
		write(t, file, conf(port, n.dir))
		if n.start(t, bin, file, zone) {
			return n
		}
	}
	t.Fatal("named did not come up in five tries")
	return nil
}

func (n *named) start(t testing.TB, bin, file, zone string) bool {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(bin, "-g", "-n", "1", "-c", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed at the end, its status says nothing
		close(ended)
	}()
	stop := func() {
		_ = cmd.Process.Kill() // by its own pid; an error means that it is gone
		<-ended
	}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		select {
		case <-ended:
			if bytes.Contains(log.Bytes(), []byte("address in use")) {
				return false
			}
			t.Fatalf("named ended:\n%s", log.String())
		default:
		}
		c := dns.Client{Net: "tcp", Timeout: 200 * time.Millisecond}
		m := question(zone, dns.TypeSOA)
		if r, _, err := c.Exchange(m, n.addr.String()); err == nil && r.Authoritative {
			t.Cleanup(func() {
				stop()
				if t.Failed() {
					t.Logf("named said:\n%s", log.String())
				}
			})
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	t.Fatalf("named does not answer:\n%s", log.String())
	return false
}

func freePort(t testing.TB) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			u.Close()
			return port
		}
	}
	t.Fatal("no port is free for both TCP and UDP")
	return 0
}

// nobody is an address at which nothing listens, over TCP and UDP. Over TCP it
// stays so: the port is taken, so that no other test gets it meanwhile.
func nobody(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// byHand sends an update as an administrator with nsupdate would: signed with
// a key that may do everything, without prerequisites.
func (n *named) byHand(t testing.TB, edit func(*dns.Msg)) int {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(zone)
	edit(m)
	m.SetTsig("hand.", dns.HmacSHA256, 300, time.Now().Unix())
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second, TsigSecret: map[string]string{"hand.": otherText}}
	r, _, err := c.Exchange(m, n.addr.String())
	if err != nil {
		t.Fatalf("update by hand: %v", err)
	}
	return r.Rcode
}

func (n *named) serial(t testing.TB) uint32 {
	t.Helper()
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	r, _, err := c.Exchange(question(zone, dns.TypeSOA), n.addr.String())
	if err != nil || len(r.Answer) != 1 {
		t.Fatalf("SOA: %v %v", r, err)
	}
	return r.Answer[0].(*dns.SOA).Serial
}

// dig asks with the tool that people use, so that what they see is tested too.
func (n *named) dig(t testing.TB, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("dig")
	if err != nil {
		t.Fatal("dig is not installed: run `make deps`")
	}
	args = append([]string{"@127.0.0.1", "-p", fmt.Sprint(n.addr.Port()), "+short", "+norecurse"}, args...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("dig: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
