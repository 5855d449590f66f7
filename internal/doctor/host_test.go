package doctor

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeHost is a folder with files of a host.
func fakeHost(t *testing.T, files map[string]string) Host {
	t.Helper()
	h := Host{t.TempDir()}
	for name, text := range files {
		path := filepath.Join(h.Root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, link := strings.CutPrefix(text, "-> "); link {
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestResolvConfIsReadAsTheLibraryDoes(t *testing.T) {
	c := ParseResolvConf([]byte(`# made by hand
nameserver 192.0.2.1 ; the first
nameserver fe80::1%eth0
nameserver 192.0.2.3
nameserver 192.0.2.4
nameserver nonsense
search a.example
search b.example c.example
options ndots:20 timeout:99 attempts:9 rotate ndots:x
sortlist 1.2.3.4
frobnicate
`))
	want := "[192.0.2.1:53 [fe80::1%eth0]:53 192.0.2.3:53] [b.example c.example] 15 30s 5"
	if got := fmt.Sprint(c.Nameservers, c.Search, c.Ndots, c.Timeout, c.Attempts); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, odd := range []string{`192.0.2.4 is the fourth`, `"nonsense" is no address`, `"ndots:x" has no number`, `"frobnicate" is no line`} {
		if !strings.Contains(strings.Join(c.Odd, "\n"), odd) {
			t.Errorf("%s is not in %q", odd, c.Odd)
		}
	}
	if c := ParseResolvConf(nil); c.Asked()[0].String() != "127.0.0.1:53" || c.Ndots != 1 || c.Timeout != 5*time.Second || c.Attempts != 2 {
		t.Errorf("without a file: %+v", c)
	}
}

func TestHostsAndOrderAreRead(t *testing.T) {
	if got := ParseHostsOrder([]byte("passwd: files\nhosts: files mymachines resolve [!UNAVAIL=return] dns # here\n")); !slices.Equal(got, []string{"files", "mymachines", "resolve", "[!UNAVAIL=return]", "dns"}) {
		t.Errorf("%q", got)
	}
	hosts := []byte("127.0.0.1 localhost\n192.0.2.9 other Orders.example.com # pinned\n#192.0.2.8 orders.example.com\n")
	if got := PinnedBy(hosts, "orders.example.com."); !slices.Equal(got, []string{"192.0.2.9"}) {
		t.Errorf("%q", got)
	}
	if got := PinnedBy(hosts, "example.com."); got != nil {
		t.Errorf("%q", got)
	}
}

func TestCachesSayHowLongTheyKeep(t *testing.T) {
	h := fakeHost(t, map[string]string{
		"etc/nscd.conf":                       "enable-cache hosts yes\npositive-time-to-live hosts 600\npositive-time-to-live passwd 9\n",
		"etc/systemd/resolved.conf":           "[Resolve]\n#Cache=no\n",
		"etc/systemd/resolved.conf.d/10.conf": "[Resolve]\nStaleRetentionSec=1d\n",
		"etc/dnsmasq.conf":                    "min-cache-ttl=120\nuse-stale-cache\n",
		"etc/unbound/unbound.conf":            "include: x\n",
		"etc/unbound/unbound.conf.d/a.conf":   "server:\n  cache-min-ttl: 300\n  serve-expired: no\n",
	})
	got := map[string]Cache{}
	for _, c := range h.Caches([]string{"nscd", "systemd-resolve", "dnsmasq", "unbound", "init"}) {
		got[c.Name] = c
	}
	for name, want := range map[string]string{
		"nscd":             "10m0s false /etc/nscd.conf",
		"systemd-resolved": "0s true /etc/systemd/resolved.conf",
		"dnsmasq":          "2m0s true /etc/dnsmasq.conf",
		"unbound":          "5m0s false /etc/unbound/unbound.conf.d/a.conf",
	} {
		if is := fmt.Sprintf("%s %v %s", got[name].Keeps, got[name].Stale, got[name].Path); is != want {
			t.Errorf("%s: %s, want %s", name, is, want)
		}
	}
	if got := (Host{t.TempDir()}).Caches([]string{"nscd"}); len(got) != 1 || got[0].Keeps != time.Hour || !strings.Contains(got[0].What, "cannot be read") {
		t.Errorf("without its file: %+v", got)
	}
	if on, ttl := ParseNscd([]byte("enable-cache hosts no\npositive-time-to-live hosts x\n")); on || ttl != time.Hour {
		t.Errorf("%v %s", on, ttl)
	}
	if got := h.Caches([]string{"java"}); got != nil {
		t.Errorf("nothing runs: %+v", got)
	}
}

// someTCP is in the byte order of little-endian machines, as most are.
const someTCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0 100 0 0 10 0
   1: 0200000A:C001 0A0200C0:0050 01 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 20 4 30 10 -1
   2: 0200000A:C002 0A0200C0:0050 01 00000000:00000000 00:00000000 00000000  1000        0 102 1 0 20 4 30 10 -1
   3: 0200000A:C003 140200C0:0050 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
   4: nonsense
   5: 0200000A:C003 140200C0:0050 0F 00000000:00000000 03:00000000 00000000     0        0 0 3 0
`

func TestConnectionsAreCountedByClusterAndProcess(t *testing.T) {
	if !littleEndian() {
		t.Skip("the table is that of a little-endian machine") // no machine of CI is another
	}
	h := fakeHost(t, map[string]string{
		"proc/net/tcp":      someTCP,
		"proc/net/tcp6":     "  sl  local_address\n   0: 0000000000000000FFFF00000200000A:C009 0000000000000000FFFF0000140200C0:0050 08 0:0 0:0 0 0 0 103 1\n",
		"proc/42/comm":      "orders-service\n",
		"proc/42/fd/3":      "-> socket:[101]",
		"proc/42/fd/4":      "-> /dev/null",
		"proc/self/comm":    "not a number\n",
		"etc/resolv.conf":   "nameserver 192.0.2.53\n",
		"etc/nsswitch.conf": "hosts: files dns\n",
	})
	f := ClientFacts{Names: []ClientName{{Name: "orders.example.com.", Clusters: map[string][]netip.Addr{"a": {ip("192.0.2.10")}, "b": {ip("192.0.2.20")}}}}}
	h.countConns(&f, h.Processes())
	want := []ConnCount{
		{"a", "ESTABLISHED", "?", 1},
		{"a", "ESTABLISHED", "orders-service (42)", 1},
		{"b", "CLOSE_WAIT", "?", 1},
		{"b", "TIME_WAIT", "-", 1},
	}
	if !slices.Equal(f.Conns, want) {
		t.Errorf("got %+v\nwant %+v", f.Conns, want)
	}
	if !slices.Equal(f.Notes, []string{"/proc/net/tcp has 2 lines that cannot be read"}) {
		t.Errorf("notes %q", f.Notes)
	}
}

func littleEndian() bool {
	a, _ := parseHexAddr("0100007F:0001")
	return a.Addr() == netip.MustParseAddr("127.0.0.1")
}

// TestARealConnectionIsFound: the kernel's own table, and this very process.
func TestARealConnectionIsFound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.1.77:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	me := fmt.Sprintf("(%d)", os.Getpid())
	var f ClientFacts
	for range 10 { // the kernel may leave one out while others come and go
		f = ClientFacts{Names: []ClientName{{Name: "x.", Clusters: map[string][]netip.Addr{"a": {ip("127.0.1.77")}}}}}
		h := Host{}
		h.countConns(&f, h.Processes())
		i := slices.IndexFunc(f.Conns, func(c ConnCount) bool {
			return c.Cluster == "a" && c.State == "ESTABLISHED" && strings.HasSuffix(c.Process, me)
		})
		if i >= 0 && f.Conns[i].Count != 1 {
			t.Errorf("one connection counts as %d", f.Conns[i].Count)
		}
		if i >= 0 {
			return
		}
	}
	t.Errorf("%+v has no connection of this process", f.Conns)
}

// TestAConnectionThatIsShownTwiceIsOne, in the state that was shown last.
func TestAConnectionThatIsShownTwiceIsOne(t *testing.T) {
	const line = "   1: 0200000A:C001 0A0200C0:0050 %s 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 20 4 30 10 -1\n"
	other := strings.Replace(line, "C001", "C002", 1)
	out, odd, cut, err := ParseTCP(strings.NewReader(fmt.Sprintf(line+other+line, "01", "01", "08")), func(Conn) bool { return true })
	if err != nil || odd != 0 || cut || len(out) != 2 || out[0].State != "CLOSE_WAIT" || out[1].State != "ESTABLISHED" {
		t.Errorf("%+v, odd %d, cut %v, %v", out, odd, cut, err)
	}
}

func TestAHugeTableIsNotReadToTheEnd(t *testing.T) {
	line := "   1: 0200000A:C001 0A0200C0:0050 01 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 20 4 30 10 -1\n"
	kept := 0
	_, odd, cut, err := ParseTCP(strings.NewReader(strings.Repeat(line, mostConns+10)), func(Conn) bool { kept++; return false })
	if err != nil || odd != 0 || !cut || kept > mostConns+1 {
		t.Errorf("%d kept, odd %d, cut %v, %v", kept, odd, cut, err)
	}
	if _, odd, cut, err := ParseTCP(bytes.NewReader(make([]byte, 1<<20)), func(Conn) bool { return true }); !cut || odd != 1 || err != nil {
		t.Errorf("one endless line: odd %d, cut %v, %v", odd, cut, err)
	}
}

func TestHostFilesThatAreNoneAreRefused(t *testing.T) {
	h := fakeHost(t, map[string]string{"etc/resolv.conf": strings.Repeat("x", maxHostFile+5)})
	if text, err := h.read("/etc/resolv.conf"); err != nil || len(text) != maxHostFile {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if err := os.Mkdir(filepath.Join(h.Root, "etc/nscd.conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := h.read("/etc/nscd.conf"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\noptions ndots:5 timeout:1\nsearch a b\n"))
	f.Add([]byte("nameserver\noptions ndots:-1 :\nsearch\n;\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := ParseResolvConf(text)
		if len(c.Asked()) == 0 || len(c.Nameservers) > mostServers || len(c.Odd) > mostOdd || c.Ndots > mostNdots || c.Attempts > mostAttempts || c.Timeout > mostTimeout*time.Second {
			t.Errorf("out of bounds: %+v", c)
		}
		ParseHostsOrder(text)
		PinnedBy(text, "a.example.")
		if _, ttl := ParseNscd(text); ttl < 0 {
			t.Errorf("ttl %s", ttl)
		}
	})
}

func FuzzTCP(f *testing.F) {
	f.Add([]byte(someTCP))
	f.Add([]byte("   0: 0000000000000000FFFF00000200000A:C009 0000000000000000FFFF0000140200C0:0050 08 0:0 0:0 0 0 0 103 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, odd, _, err := ParseTCP(bytes.NewReader(text), func(Conn) bool { return true })
		if err != nil || odd < 0 {
			t.Errorf("odd %d, %v", odd, err)
		}
		for _, c := range out {
			if !c.Local.IsValid() || !c.Remote.IsValid() || c.State == "" {
				t.Errorf("%+v", c)
			}
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("a=b\n# c\nlong=1,\\\n  2\n!x\nk : v\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for k := range ParseProperties(text) {
			if strings.ContainsAny(k, "=\n") {
				t.Errorf("key %q", k)
			}
		}
	})
}
