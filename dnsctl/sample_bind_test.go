package dnsctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// TestBINDSampleConfigGrantsWhatIsNeededAndNoMore runs the sample as it is
// shipped, with only port, directory and secret replaced.
func TestBINDSampleConfigGrantsWhatIsNeededAndNoMore(t *testing.T) {
	text, err := os.ReadFile("../configs/named.conf.sample")
	if err != nil {
		t.Fatal(err)
	}
	sample := string(text)
	_, comment, _ := strings.Cut(sample, "// The zone file, as a start:")
	var zoneFile []string
	for line := range strings.Lines(comment) {
		if l, ok := strings.CutPrefix(line, "//   "); ok {
			zoneFile = append(zoneFile, l)
		}
	}
	n := runNamed(t, func(port int, dir string) string {
		write(t, filepath.Join(dir, "example.com.zone"), strings.Join(zoneFile, ""))
		conf := sample
		for old, now := range map[string]string{
			"port 5300 ":                             fmt.Sprintf("port %d ", port),
			"/var/lib/bind":                          dir,
			"REPLACE-WITH-THE-OUTPUT-OF-tsig-keygen": secretText,
		} {
			if strings.Count(conf, old) != 1 {
				t.Fatalf("the sample has %q %d times", old, strings.Count(conf, old))
			}
			conf = strings.Replace(conf, old, now, 1)
		}
		return conf
	}, "example.com.")
	c := testConfig(t, n.addr.String())
	c.Zone = "example.com."
	c.Allowed = map[failover.RecordName][]failover.Target{"new.example.com.": {"orders-b.example.com."}}
	pairs := map[failover.RecordName][2]failover.Target{
		"orders.example.com.":     {"orders-a.example.com.", "orders-b.example.com."},
		"orders.vpc.example.com.": {"orders-a.vpc.example.com.", "orders-b.vpc.example.com."},
	}
	for name, to := range pairs {
		c.Allowed[name] = to[:]
	}
	p := mustProvider(t, c)
	for name, to := range pairs {
		mustWrite(t, p, Change{Name: name, Expect: to[0], ExpectMark: ptr(""), Value: to[1], TTL: 30, Mark: mark(1, 1)})
		if got, want := mustRead(t, p, name), (State{Value: to[1], TTL: 30, Mark: mark(1, 1)}); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v", got)
		}
	}
	out, err := p.Write(t.Context(), Change{Name: "new.example.com.", Value: "orders-b.example.com.", TTL: 30, Mark: mark(1, 1)})
	if out != failover.WriteRefused || !errors.Is(err, ErrRights) {
		t.Errorf("another name: %s %v", out, err)
	}
}
