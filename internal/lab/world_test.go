package lab

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func newWorld(t *testing.T, instances ...string) *World {
	t.Helper()
	w, err := NewWorld(WorldConfig{Dir: filepath.Join(t.TempDir(), "lab"), Instances: instances})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestTheConfigSaysWhatTheWorldIs(t *testing.T) {
	w := newWorld(t, Orders, Billing)
	b, err := os.ReadFile(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Controller struct{ Listen string }
		Authority  struct {
			Listen []string
			Zones  []struct {
				Name  string
				Hosts map[string][]string
			}
		}
		Vantages []struct {
			Name, Domain string
			KeyFile      string `yaml:"key_file"`
		}
		Instances []struct {
			Name, Preset, Primary string
			Names                 []struct{ Name, Provider string }
			Clusters              map[string]struct{ Target, Address string }
		}
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if c.Controller.Listen != w.API.String() || c.Authority.Listen[0] != w.DNS.String() {
		t.Errorf("addresses %+v, want API %s and DNS %s", c, w.API, w.DNS)
	}
	for _, k := range w.Clusters {
		if got := c.Authority.Zones[0].Hosts[k.Target]; len(got) != 1 || got[0] != k.Addr.Addr().String() {
			t.Errorf("host %s has %v, want %s", k.Target, got, k.Addr.Addr())
		}
	}
	if len(c.Instances) != 2 || c.Instances[0].Name != Orders || len(c.Instances[1].Names) != 2 {
		t.Fatalf("instances %+v", c.Instances)
	}
	for _, in := range c.Instances {
		if in.Preset != "fast-lab" || in.Primary != "a" || in.Clusters["b"].Address != w.Clusters[1].Addr.String() || in.Clusters["b"].Target != "b.lab.test." {
			t.Errorf("instance %+v", in)
		}
	}
	domains := map[string]bool{"rack-1": true} // the controller's own
	for _, v := range c.Vantages {
		domains[v.Domain] = true
		if _, err := os.Stat(filepath.Join(w.Dir, v.KeyFile)); err != nil {
			t.Errorf("key of %s: %v", v.Name, err)
		}
	}
	if len(domains) != 3 {
		t.Errorf("failure domains %v, want three", domains)
	}
}

func TestEverythingInTheFolderIsForItsOwnerOnly(t *testing.T) {
	w := newWorld(t, Orders)
	err := filepath.WalkDir(w.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string { b, _ := os.ReadFile(filepath.Join(w.Dir, name)); return string(b) }
	if token, key := read("token"), read("van-2.key"); len(token) != 65 || token == key || key == read("van-3.key") {
		t.Error("secrets are short, or alike")
	}
}

func TestAFolderOfSomebodyElseIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewWorld(WorldConfig{Dir: dir, Instances: []string{Orders}}); !errors.Is(err, ErrOccupied) {
		t.Fatalf("%v, want ErrOccupied", err)
	}
	entries, _ := os.ReadDir(dir)
	if b, _ := os.ReadFile(filepath.Join(dir, "data")); string(b) != "precious" || len(entries) != 1 {
		t.Errorf("it was touched: %q, %v", b, entries)
	}
}

func TestTheLedgerOfAnEarlierLabIsForgotten(t *testing.T) {
	w := newWorld(t, Orders)
	old := filepath.Join(w.Dir, "data", "ledger.db")
	if err := os.WriteFile(old, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewWorld(WorldConfig{Dir: w.Dir, Instances: []string{Orders}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old ledger is still there: %v", err)
	}
}

func TestPortsAreFreeApartAndTheSameForBothClusters(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	busy := uint16(ln.Addr().(*net.TCPAddr).Port)
	if p, err := freePort(busy, map[uint16]bool{}, []netip.Addr{local}); err != nil || p == busy {
		t.Errorf("got %d, %v, and %d is taken", p, err, busy)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	busy = uint16(udp.LocalAddr().(*net.UDPAddr).Port)
	if p, err := freePort(busy, map[uint16]bool{}, []netip.Addr{local}); err != nil || p == busy {
		t.Errorf("got %d, %v, and %d is taken for UDP", p, err, busy)
	}
	w := newWorld(t, Orders)
	ports := map[uint16]int{}
	for _, p := range []uint16{w.DNS.Port(), w.API.Port(), w.Clusters[0].Manage.Port(), w.Clusters[1].Manage.Port(), w.Clusters[0].Addr.Port()} {
		ports[p]++
		if p >= 32768 {
			t.Errorf("port %d is one that the kernel gives to clients", p)
		}
	}
	if len(ports) != 5 || w.Clusters[0].Addr.Port() != w.Clusters[1].Addr.Port() || w.Clusters[0].Addr == w.Clusters[1].Addr {
		t.Errorf("%+v", w)
	}
}

func TestAnInstanceThatTheLabDoesNotHaveIsRefused(t *testing.T) {
	if _, err := NewWorld(WorldConfig{Dir: t.TempDir(), Instances: []string{"payroll"}}); err == nil || !strings.Contains(err.Error(), `not "payroll"`) {
		t.Errorf("%v", err)
	}
}

func TestTheTuneIsInTheConfig(t *testing.T) {
	for want, tune := range map[string]Tune{
		"    preset: fast-lab\n    names:":                     {},
		"    preset: fast-lab\n    ride_out: 2.5s\n    names:": {RideOut: 2500 * time.Millisecond},
		"    preset: stateless-http\n    names:":               {Preset: "stateless-http"},
		"    preset: fast-lab\n    cooldown: 1s\n    names:":   {Cooldown: time.Second},
	} {
		w, err := NewWorld(WorldConfig{Dir: filepath.Join(t.TempDir(), "lab"), Instances: []string{Orders}, Tune: tune})
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(w.Config)
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%+v: %v; no %q in\n%s", tune, err, want, b)
		}
	}
}
