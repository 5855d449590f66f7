package healthcheck

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func ptr(d time.Duration) *time.Duration { return &d }

// twoVotes is a report with every field in use.
func twoVotes() InstanceReport {
	return InstanceReport{
		Vantage: "van-1", Instance: "orders", Generation: "0123456789abcdef",
		Clusters: []ClusterReport{
			{
				Cluster: "a", Vote: failover.Down, Reason: "connect 192.0.2.1:80: connection refused",
				Misses: 3, Fall: 3, Rise: 5, Failed: 3, Window: 30,
				LastProbe: ptr(100 * time.Millisecond), FirstMiss: ptr(400 * time.Millisecond), LastMiss: ptr(100 * time.Millisecond),
				LastSuccess: ptr(time.Second), Latency: 3 * time.Millisecond, Identity: true,
			},
			{
				Cluster: "b", Vote: failover.Up, Reason: "answers in 2ms", Fall: 3, Hits: 99, Rise: 5, Window: 30,
				LastProbe: ptr(200 * time.Millisecond), LastSuccess: ptr(200 * time.Millisecond), UpFor: ptr(time.Hour), Latency: 2 * time.Millisecond,
				Identity: true, Warnings: []string{"certificate ends in 5 days"},
				Canary: failover.CanaryOK, CanaryAge: ptr(190 * time.Millisecond), Client: failover.ClientRefused, ClientAge: ptr(180 * time.Millisecond),
			},
			{Cluster: "c", Vote: failover.Unknown, Reason: "OTSAuthFailed (403): The AccessKeyID is disabled.", Fault: failover.FaultKey, LastProbe: ptr(time.Second)},
		},
	}
}

// always is the challenge of receivers in tests that are about other things.
var always = strings.Repeat("c4", nonceSize)

// envelope is a message with the given reports.
func envelope(seq uint64, reports ...InstanceReport) *message {
	return &message{
		Version: wireVersion, Vantage: "van-1", Challenge: always, Boot: strings.Repeat("0a", nonceSize), Seq: seq,
		SentMS: time.Now().UnixMilli(), Uptime: time.Duration(seq) * time.Second, Reports: reports,
	}
}

func encoded(t testing.TB, m *message) []byte {
	t.Helper()
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReportSurvivesTheWire(t *testing.T) {
	m := envelope(7, twoVotes())
	got, err := decodeMessage(encoded(t, m))
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, m)
	}
}

func TestEveryTruncationIsMalformed(t *testing.T) {
	b := encoded(t, envelope(7, twoVotes()))
	for n := range b {
		if _, err := decodeMessage(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(b))
		}
	}
}

func TestAgesBecomeMomentsOfTheReceiversClock(t *testing.T) {
	now := time.Now()
	e := twoVotes().Event(now, "want")
	a, b := e.Clusters["a"], e.Clusters["b"]
	if e.Vantage != "van-1" || e.Generation != "0123456789abcdef" || e.Want != "want" || e.Sick != "" {
		t.Errorf("event is %+v", e)
	}
	if !a.Received.Equal(now) || !a.LastMiss.Equal(now.Add(-100*time.Millisecond)) || !a.FirstMiss.Equal(now.Add(-400*time.Millisecond)) || !a.UpSince.IsZero() || !a.LastSuccess.Equal(now.Add(-time.Second)) {
		t.Errorf("a is %+v", a)
	}
	if !b.UpSince.Equal(now.Add(-time.Hour)) || !b.FirstMiss.IsZero() || !b.LastMiss.IsZero() || b.Warnings[0] != "certificate ends in 5 days" || !b.Identity {
		t.Errorf("b is %+v", b)
	}
	if b.Canary != failover.CanaryOK || !b.CanaryAt.Equal(now.Add(-190*time.Millisecond)) || b.Client != failover.ClientRefused || !b.ClientAt.Equal(now.Add(-180*time.Millisecond)) {
		t.Errorf("of its writes: %+v", b)
	}
	if c := e.Clusters["c"]; c.Fault != failover.FaultKey || c.Vote != failover.Unknown {
		t.Errorf("c is %+v", c)
	}
}

// The end of a certificate comes nearer while a report waits, and is the same
// moment whichever report tells it.
func TestEndOfTheCertificateTravels(t *testing.T) {
	r := twoVotes()
	r.made = time.Now()
	in := 9 * 24 * time.Hour
	r.Clusters[1].CertificateEndsIn = &in
	end := r.made.Add(in).Round(time.Minute)
	older := r.Aged(r.made.Add(time.Hour))
	if got := *older.Clusters[1].CertificateEndsIn; got != in-time.Hour || older.Clusters[0].CertificateEndsIn != nil {
		t.Errorf("an hour later it ends in %s", got)
	}
	e := older.Event(r.made.Add(time.Hour), "")
	if got := e.Clusters["b"].CertificateEnds; !got.Equal(end) || !e.Clusters["a"].CertificateEnds.IsZero() {
		t.Errorf("it ends at %s, want %s", got, end)
	}
}

func TestAReportThatWaitsGrowsOlder(t *testing.T) {
	r := twoVotes()
	r.made = time.Now()
	older := r.Aged(r.made.Add(time.Second))
	if *older.Clusters[0].FirstMiss != 1400*time.Millisecond || *older.Clusters[1].UpFor != time.Hour+time.Second || *older.Clusters[0].LastSuccess != 2*time.Second || older.Clusters[1].LastMiss != nil {
		t.Errorf("a second later: %+v", older.Clusters)
	}
	if *r.Clusters[0].FirstMiss != 400*time.Millisecond {
		t.Error("the original changed")
	}
	if twice := older.Aged(r.made.Add(time.Second)); *twice.Clusters[0].FirstMiss != 1400*time.Millisecond {
		t.Error("the same second counted twice")
	}
	foreign := twoVotes().Aged(time.Now())
	if *foreign.Clusters[0].FirstMiss != 400*time.Millisecond {
		t.Error("a report from elsewhere grew older by our clock")
	}
}

// impossible lists changes to a good message that no honest vantage makes.
var impossible = map[string]func(m *message, r *InstanceReport, a *ClusterReport){
	"a refusal in the future":        func(m *message, _ *InstanceReport, _ *ClusterReport) { m.Config = &ConfigRefusal{Age: -1} },
	"another version":                func(m *message, _ *InstanceReport, _ *ClusterReport) { m.Version = 2 },
	"no boot":                        func(m *message, _ *InstanceReport, _ *ClusterReport) { m.Boot = "" },
	"a boot of another length":       func(m *message, _ *InstanceReport, _ *ClusterReport) { m.Boot = "0a0a" },
	"no sequence":                    func(m *message, _ *InstanceReport, _ *ClusterReport) { m.Seq = 0 },
	"a negative uptime":              func(m *message, _ *InstanceReport, _ *ClusterReport) { m.Uptime = -1 },
	"no reports":                     func(m *message, _ *InstanceReport, _ *ClusterReport) { m.Reports = nil },
	"a report of another vantage":    func(_ *message, r *InstanceReport, _ *ClusterReport) { r.Vantage = "van-2" },
	"no instance":                    func(_ *message, r *InstanceReport, _ *ClusterReport) { r.Instance = "" },
	"an instance of two lines":       func(_ *message, r *InstanceReport, _ *ClusterReport) { r.Instance = "a\nb" },
	"a negative age":                 func(_ *message, _ *InstanceReport, a *ClusterReport) { a.LastProbe = ptr(-1) },
	"an age of centuries":            func(_ *message, _ *InstanceReport, a *ClusterReport) { a.FirstMiss = ptr(maxAge + 1) },
	"a certificate of centuries":     func(_ *message, _ *InstanceReport, a *ClusterReport) { a.CertificateEndsIn = ptr(maxAge + 1) },
	"one that ended long ago":        func(_ *message, _ *InstanceReport, a *ClusterReport) { a.CertificateEndsIn = ptr(-maxAge - 1) },
	"a negative counter":             func(_ *message, _ *InstanceReport, a *ClusterReport) { a.Misses = -1 },
	"a miss newer than its probe":    func(_ *message, _ *InstanceReport, a *ClusterReport) { a.LastMiss = ptr(0) },
	"a first miss after the last":    func(_ *message, _ *InstanceReport, a *ClusterReport) { a.FirstMiss = ptr(0) },
	"a success newer than its probe": func(_ *message, _ *InstanceReport, a *ClusterReport) { a.LastSuccess = ptr(0) },
	"a vote without a probe":         func(_ *message, _ *InstanceReport, a *ClusterReport) { a.LastProbe, a.LastMiss = nil, nil },
	"a down vote without a miss":     func(_ *message, _ *InstanceReport, a *ClusterReport) { a.FirstMiss, a.LastMiss = nil, nil },
	"down, but up for an hour":       func(_ *message, _ *InstanceReport, a *ClusterReport) { a.UpFor = ptr(time.Hour) },
	"a down vote with a fault":       func(_ *message, _ *InstanceReport, a *ClusterReport) { a.Fault = failover.FaultKey },
	"an unknown fault": func(_ *message, _ *InstanceReport, a *ClusterReport) {
		a.Vote, a.Fault = failover.Unknown, "weather"
	},
	"a canary without an age": func(_ *message, _ *InstanceReport, a *ClusterReport) { a.Canary = failover.CanaryOK },
	"an unknown canary": func(_ *message, _ *InstanceReport, a *ClusterReport) {
		a.Canary, a.CanaryAge = "yellow", ptr(time.Second)
	},
	"an age of no canary": func(_ *message, _ *InstanceReport, a *ClusterReport) { a.CanaryAge = ptr(time.Second) },
	"a client write in the future": func(_ *message, _ *InstanceReport, a *ClusterReport) {
		a.Client, a.ClientAge = failover.ClientAccepted, ptr(-1)
	},
	"an unknown client write": func(_ *message, _ *InstanceReport, a *ClusterReport) {
		a.Client, a.ClientAge = "maybe", ptr(time.Second)
	},
	"a negative latency":          func(_ *message, _ *InstanceReport, a *ClusterReport) { a.Latency = -1 },
	"a flood of warnings":         func(_ *message, _ *InstanceReport, a *ClusterReport) { a.Warnings = make([]string, maxWarnings+1) },
	"two votes for one cluster":   func(_ *message, r *InstanceReport, _ *ClusterReport) { r.Clusters[1].Cluster = "a" },
	"two reports of one instance": func(m *message, r *InstanceReport, _ *ClusterReport) { m.Reports = append(m.Reports, *r) },
	"more clusters than there are": func(_ *message, r *InstanceReport, _ *ClusterReport) {
		r.Clusters = make([]ClusterReport, maxClusters+1)
	},
	"more reports than one message": func(m *message, r *InstanceReport, _ *ClusterReport) { m.Reports = make([]InstanceReport, maxBatch+1) },
}

func TestImpossibleReportsAreRefused(t *testing.T) {
	for name, change := range impossible {
		m := envelope(7, twoVotes())
		change(m, &m.Reports[0], &m.Reports[0].Clusters[0])
		if _, err := decodeMessage(encoded(t, m)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	good := string(encoded(t, envelope(7, twoVotes())))
	for name, text := range map[string]string{
		"an unknown key":    strings.Replace(good, `"misses"`, `"target":"evil.example.","misses"`, 1),
		"an unknown vote":   strings.Replace(good, `"vote":"down"`, `"vote":"dead"`, 1),
		"more after it":     good + "{}",
		"a list":            "[" + good + "]",
		"a number too many": strings.Replace(good, `"misses":3`, `"misses":3e400`, 1),
	} {
		if _, err := decodeMessage([]byte(text)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestForeignTextIsMadeFitToShow(t *testing.T) {
	m := envelope(7, twoVotes())
	m.Reports[0].Clusters[0].Reason = "first line\nlevel=error msg=\"forged\" \x1b[31m" + strings.Repeat("x", 2*maxText)
	got, err := decodeMessage(encoded(t, m))
	if err != nil {
		t.Fatal(err)
	}
	reason := got.Reports[0].Clusters[0].Reason
	if strings.ContainsAny(reason, "\n\x1b") || len(reason) > maxText {
		t.Errorf("reason is %q", reason)
	}
}

func TestKeysNeverPrintThemselves(t *testing.T) {
	k, err := ParseKey([]byte("  0123456789abcdef0123456789abcdef\n"))
	if err != nil || len(k) != 32 {
		t.Fatalf("%d bytes, %v", len(k), err)
	}
	b, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %q %x", k, k, SenderConfig{Key: k}, k, k, k), string(b)} {
		if strings.Contains(s, "0123") || strings.Contains(s, "30313233") {
			t.Errorf("printed as %s", s)
		}
	}
	if _, err := ParseKey([]byte("short")); err == nil {
		t.Error("a short key was taken")
	}
}
