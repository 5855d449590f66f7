package replication

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// told collects what a meter tells on the clock of a test, by the second.
func told(t *testing.T, m *pollMeter, d time.Duration) (out []string) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		err := m.Run(ctx, func(e ExposureNow) {
			what := e.Why
			if e.Known {
				what = e.Lag.String()
			}
			out = append(out, fmt.Sprintf("%d: %s", int(time.Since(begun).Seconds()), what))
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	return out
}

func TestMeterIsUnknownAfterSomeSilence(t *testing.T) {
	n := 0
	m := &pollMeter{every: 10 * time.Second, timeout: time.Second, ask: func(context.Context) (ExposureNow, error) {
		if n++; n > 2 {
			return ExposureNow{}, errors.New("no answer")
		}
		return ExposureNow{Known: true, Lag: time.Duration(n), At: time.Now()}, nil
	}}
	got := told(t, m, 2*time.Minute)
	if len(got) < 3 || got[0] != "0: 1ns" || !strings.HasSuffix(got[1], ": 2ns") {
		t.Fatal(got)
	}
	second, _ := strconv.Atoi(strings.Split(got[1], ":")[0])
	silent, _ := strconv.Atoi(strings.Split(got[2], ":")[0])
	if !strings.HasSuffix(got[2], ": no answer") || silent-second < 29 || silent-second > 40 {
		t.Errorf("%v: want unknown after three rounds", got)
	}
	if slices.ContainsFunc(got[2:], func(s string) bool { return !strings.HasSuffix(s, ": no answer") }) {
		t.Error(got)
	}
}

func TestMeterSaysAtOnceThatItKnowsNothing(t *testing.T) {
	for name, ask := range map[string]func(context.Context) (ExposureNow, error){
		"no answer yet": func(context.Context) (ExposureNow, error) { return ExposureNow{}, errors.New("no answer yet") },
		"no answer within 1s": func(ctx context.Context) (ExposureNow, error) {
			<-ctx.Done()
			return ExposureNow{}, ctx.Err()
		},
		"the answer is of 31s ago": func(context.Context) (ExposureNow, error) {
			return ExposureNow{Known: true, At: time.Now().Add(-31 * time.Second)}, nil
		},
	} {
		if got := told(t, &pollMeter{every: 10 * time.Second, timeout: time.Second, ask: ask}, 5*time.Second); len(got) != 1 || !strings.HasSuffix(got[0], ": "+name) {
			t.Errorf("%v, want %q", got, name)
		}
	}
	n := 0
	got := told(t, &pollMeter{every: 10 * time.Second, timeout: time.Second, ask: func(context.Context) (ExposureNow, error) {
		if n++; n == 2 {
			return ExposureNow{}, unknownError("it has failed")
		}
		return ExposureNow{Known: true, At: time.Now()}, nil
	}}, 11*time.Second)
	if len(got) != 2 || !strings.HasSuffix(got[1], ": it has failed") {
		t.Error(got)
	}
}

// TestMeterThatIsAskedOnceSaysWhatOneThatRunsDoes: an answer that is too old for
// the one is none for the other.
func TestMeterThatIsAskedOnceSaysWhatOneThatRunsDoes(t *testing.T) {
	for age, known := range map[time.Duration]bool{0: true, 29 * time.Second: true, 31 * time.Second: false, 10 * time.Minute: false} {
		m := &pollMeter{every: 10 * time.Second, timeout: time.Second, ask: func(context.Context) (ExposureNow, error) {
			return ExposureNow{Known: true, At: time.Now().Add(-age)}, nil
		}}
		synctest.Test(t, func(t *testing.T) {
			runs := once(t, m)
			e, err := m.once(t.Context())
			if runs.Known != known || e.Known != known || known != (err == nil) || err != nil && err.Error() != runs.Why {
				t.Errorf("of %s ago: asked once it says %+v %v, while it runs %+v", age, e, err, runs)
			}
		})
	}
}

// once is what a meter tells first.
func once(t *testing.T, m *pollMeter) (out ExposureNow) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := m.Run(ctx, func(e ExposureNow) { out = e; cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return out
}

func TestMeterOfAGlobalTable(t *testing.T) {
	globals := tablestore.NewGlobals()
	var labs []*river
	for i, region := range []string{"cn-a", "cn-b"} {
		s, err := tablestore.New(tablestore.Options{Globals: globals, Region: region, Instances: []tablestore.Instance{{Name: []string{"one", "two"}[i]}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		r := &river{t: t, Server: s}
		r.c = r.client()
		labs = append(labs, r)
	}
	a, b := labs[0], labs[1]
	a.must(a.c.CreateTable(context.Background(), ots.Table{
		Name: "orders", Key: []ots.KeySchema{{Name: "id", Type: "STRING"}}, Deviation: 1<<31 - 1, AllowUpdate: true, UpdateFullRow: true,
	}))
	of := func(standby string) *pollMeter {
		return newGlobalMeter(globalConfig{Name: "orders", Ask: []*ots.Client{a.c, b.c}, Standby: standby})
	}
	if e := once(t, of("two")); e.Known || !strings.Contains(e.Why, "global table orders: ask instance one: ") {
		t.Errorf("of none: %+v", e)
	}
	bare := sdk.NewClient(a.Endpoint(), "one", a.Key().ID, a.Key().Secret)
	_, err := bare.CreateGlobalTable(&sdk.CreateGlobalTableRequest{
		BaseTable:  &sdk.BaseTable{RegionId: "cn-a", InstanceName: "one", TableName: "orders"},
		Placements: []*sdk.Placement{{RegionId: "cn-b", InstanceName: "two"}}, SyncMode: sdk.SyncMode_Row, ServeMode: sdk.ServeMode_PrimarySecondary,
	})
	a.must(err)
	a.must(b.SetRPO("two", "orders", 1500*time.Millisecond))
	for e := (ExposureNow{}); !e.Known; e = once(t, of("two")) { // until it is copied
		if e.Why != "" && !strings.Contains(e.Why, "has not all rows yet") {
			t.Fatalf("%+v", e)
		}
	}
	before := time.Now()
	if e := once(t, of("two")); !e.Known || e.Lag != 1500*time.Millisecond || e.At.Before(before) || e.At.After(time.Now()) {
		t.Errorf("%+v", e)
	}
	for standby, want := range map[string]string{"one": "its primary is the standby, in cn-a: rows go the other way", "three": "no replica in an instance three"} {
		if e := once(t, of(standby)); e.Known || !strings.Contains(e.Why, want) {
			t.Errorf("%s: %+v", standby, e)
		}
	}
	// One that does not answer leaves the word to the other.
	_, err = a.Fail(tablestore.Fault{Kind: tablestore.Drop}, -1)
	a.must(err)
	if e := once(t, of("two")); !e.Known {
		t.Errorf("%+v", e)
	}
	_, err = b.Fail(tablestore.Fault{Kind: tablestore.Drop}, -1)
	a.must(err)
	if e := once(t, of("two")); e.Known || !strings.Contains(e.Why, "ask instance one") || !strings.Contains(e.Why, "ask instance two") {
		t.Errorf("%+v", e)
	}
}

func TestRPOOfTheStandby(t *testing.T) {
	good := ots.Replica{Region: "cn-b", Instance: "two", Role: "secondary", Stage: "SYNC_INCR", RPO: time.Second, Known: true}
	main := ots.Replica{Region: "cn-a", Instance: "one", Role: "primary", Stage: "SYNC_INCR", Known: true}
	with := func(change func(*ots.Replica)) []ots.Replica {
		r := good
		change(&r)
		return []ots.Replica{main, r}
	}
	named := func(rs []ots.Replica) []ots.Replica {
		for i := range rs {
			rs[i].Instance = "two"
		}
		return rs
	}
	for name, c := range map[string]struct {
		replicas []ots.Replica
		lag      time.Duration
		why      string
		region   string
	}{
		"good":        {with(func(*ots.Replica) {}), time.Second, "", ""},
		"zero":        {with(func(r *ots.Replica) { r.RPO = 0 }), 0, "", ""},
		"failed":      {with(func(r *ots.Replica) { r.Failed, r.Message = true, "quota" }), 0, "has failed: quota", ""},
		"copying":     {with(func(r *ots.Replica) { r.Stage = "SYNC_FULL" }), 0, "not all rows yet (SYNC_FULL)", ""},
		"not told":    {with(func(r *ots.Replica) { r.Known = false }), 0, "is not told", ""},
		"negative":    {with(func(r *ots.Replica) { r.RPO = -1 }), 0, "is not told", ""},
		"primary":     {with(func(r *ots.Replica) { r.Role = "primary" }), 0, "its primary is the standby", ""},
		"none":        {nil, 0, "no replica", ""},
		"one name":    {append(with(func(r *ots.Replica) { r.RPO, r.Region = 7, "cn-c" }), good), time.Second, "", ""}, // in two regions
		"one of them": {append(with(func(r *ots.Replica) { r.RPO, r.Region = 7, "cn-c" }), good), 7, "", "cn-c"},
		"one fails":   {append(with(func(r *ots.Replica) { r.Failed, r.Region = true, "cn-c" }), good), 0, "has failed", ""},
		"peers":       {with(func(r *ots.Replica) { r.Role = "peer" }), time.Second, "", ""},
		// Both clusters serve one instance name: the usual case.
		"the standby":        {named(with(func(*ots.Replica) {})), time.Second, "", "cn-b"},
		"roles turned round": {named(with(func(*ots.Replica) {})), 0, "its primary is the standby, in cn-a", "cn-a"},
		"which is not told":  {named(with(func(*ots.Replica) {})), 0, `instances two in cn-a, cn-b, and which is the standby is not told: tablestore.region of the cluster is ""`, ""},
		"another spelling":   {named(with(func(*ots.Replica) {})), 0, `is "zone-2"`, "zone-2"},
	} {
		lag, err := standbyRPO(ots.GlobalTable{Replicas: c.replicas}, "two", c.region)
		if lag != c.lag || (err == nil) != (c.why == "") || err != nil && (!strings.Contains(err.Error(), c.why) || !errors.As(err, new(unknownError))) {
			t.Errorf("%s: %v, %v, want %v, %q", name, lag, err, c.lag, c.why)
		}
	}
}

func anywhere(netip.Addr) error { return nil }

func TestMeterOfAURL(t *testing.T) {
	var text string
	status := http.StatusOK
	var asked *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}))
	defer s.Close()
	x := External{URL: s.URL + "/s3cret", Forbidden: anywhere}
	ask := func() ExposureNow {
		t.Helper()
		m, err := newExternalMeter(x, "orders", "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		return once(t, m)
	}
	text = `{"lag_ms": 1500, "rows": 3}`
	if e := ask(); !e.Known || e.Lag != 1500*time.Millisecond || e.Rows != 3 || e.Why != "external replication" {
		t.Errorf("%+v", e)
	}
	if asked.URL.Path != "/s3cret" || asked.Method != http.MethodGet || asked.Header.Get("Accept") != "application/json" {
		t.Errorf("asked %s %s", asked.Method, asked.URL)
	}
	for name, c := range map[string]struct {
		do   func()
		want string
	}{
		"words":    {func() { text = "all is well" }, "cannot be read"},
		"too long": {func() { text = `{"lag_ms": 1` + strings.Repeat(" ", 1<<20) + `}` }, "more than 64 KiB"},
		"old":      {func() { text = `{"lag_ms": 1, "at": "2026-01-01T00:00:00Z"}` }, "ago"},
		"error":    {func() { status = http.StatusInternalServerError }, "status 500"},
		"redirect": {func() { status = http.StatusFound }, "status 302"},
		"refused address": {func() {
			x.Forbidden = func(a netip.Addr) error { return fmt.Errorf("%s is not for us", a) }
		}, "127.0.0.1 is not for us"},
		"nobody there": {func() { x.URL = "http://127.0.0.1:1/s3cret" }, "refused"},
		"no URL":       {func() { x.URL = "http://%/s3cret" }, "the URL is none"},
	} {
		text, status, x = `{"lag_ms": 1}`, http.StatusOK, External{URL: s.URL + "/s3cret", Forbidden: anywhere}
		c.do()
		if e := ask(); e.Known || !strings.Contains(e.Why, c.want) || strings.Contains(e.Why, "s3cret") {
			t.Errorf("%s: %+v, want %q", name, e, c.want)
		}
		if asked.URL.Path != "/s3cret" {
			t.Errorf("%s: %s was asked for", name, asked.URL.Path)
		}
	}
}

func TestMeterRefusesItsConfig(t *testing.T) {
	fine := func(string) error { return nil }
	for name, x := range map[string]External{
		"neither":     {Forbidden: anywhere, Program: fine},
		"both":        {URL: "http://127.0.0.1/", Command: []string{"/bin/true"}, Forbidden: anywhere, Program: fine},
		"any address": {URL: "http://127.0.0.1/", Program: fine},
		"any program": {Command: []string{"/bin/true"}, Forbidden: anywhere},
	} {
		if _, err := newExternalMeter(x, "orders", "a", "b"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	m, err := newExternalMeter(External{Command: []string{"/bin/true"}, Program: func(path string) error { return errors.New(path + " can be changed by others") }}, "orders", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if e := once(t, m); e.Known || !strings.Contains(e.Why, "not run: /bin/true can be changed by others") {
		t.Errorf("%+v", e)
	}
}
