package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// kept lists what the history of a whole process has of a kind.
func kept[T any](w *whole, kind string) []T {
	w.Helper()
	ss, err := w.past.List(w.Context(), ledger.HistoryFilter{Kind: kind})
	if err != nil {
		w.Fatal(err)
	}
	out := make([]T, len(ss))
	for i, s := range ss {
		if err := json.Unmarshal(s.Data, &out[i]); err != nil {
			w.Fatal(err)
		}
	}
	return out
}

// TestTheRecordingSaysWhoLooked: one line for each life, told anew at each beat,
// and one for each silence of a vantage, from its last word on to the next.
func TestTheRecordingSaysWhoLooked(t *testing.T) {
	w := newWhole(t, nil)
	w.until(func() bool { return len(kept[failover.Recording](w, recordingKind)) == 1 })
	r := newRecording(w.process)
	r.life.From = r.life.From.Add(time.Second) // another life than that of the process
	now := time.Now()
	r.beat(now)
	r.beat(now.Add(failover.BeatEvery))
	lives := kept[failover.Recording](w, recordingKind)
	if len(lives) != 2 || lives[1].Controller != "ctl-1" || !lives[1].Until.Equal(now.Add(failover.BeatEvery)) || lives[1].Ended {
		t.Errorf("%+v", lives)
	}
	if s := kept[failover.Silence](w, silenceKind); len(s) != 0 {
		t.Errorf("everybody speaks: %+v", s)
	}
	later := now.Add(10 * time.Minute)
	r.listen(later)
	r.listen(later.Add(time.Minute))
	s := kept[failover.Silence](w, silenceKind)
	if len(s) != 1 || s[0].Vantage != "ctl-1" || s[0].Instances != 2 || len(s[0].Names) != 2 || !s[0].To.IsZero() || s[0].From.After(time.Now()) {
		t.Fatalf("%+v", s)
	}
	again := time.Now()
	r.listen(again)
	if s = kept[failover.Silence](w, silenceKind); len(s) != 1 || !s[0].To.Equal(again) {
		t.Errorf("%+v", s)
	}
}

// TestOneOpenEpisodeGoesOn: of several that a life left open the newest does, and
// the policy that ran is kept once.
func TestOneOpenEpisodeGoesOn(t *testing.T) {
	w := newWhole(t, nil)
	w.until(func() bool { return len(kept[failover.Recording](w, recordingKind)) == 1 })
	began := time.Now().Add(-time.Hour)
	for i, id := range []string{"old", "new", "over"} {
		e := failover.Episode{ID: id, Instance: "orders", Active: "a", Began: began.Add(time.Duration(i) * time.Minute), SeenTo: began, Watched: id == "over"}
		w.keepEpisode(t.Context(), e)
	}
	gone := failover.Episode{ID: "gone", Instance: "gone", Active: "a", Began: began, WouldAt: began, DownNow: began, Grace: time.Second, SeenTo: began.Add(time.Minute)}
	w.keepEpisode(t.Context(), gone)
	w.keep("recording/0", began, "", recordingKind, failover.Recording{From: began, Until: time.Now().Add(1e6 * time.Hour)}) // damaged
	got := w.unfinished(t.Context(), []failover.InstanceName{"orders", "other"})
	if u := got["orders"]; len(got) != 1 || u.Episode.ID != "new" || u.Seen.Before(began.Add(30*time.Minute)) || u.Seen.After(time.Now().Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
	es := kept[failover.Episode](w, episodeKind)
	if len(es) != 4 || !es[0].Watched || len(es[0].Gaps) != 1 || es[1].Watched {
		t.Errorf("%+v", es)
	}
	for _, i := range []int{0, 3} { // what is closed lasts no longer
		if e := es[i]; e.End != failover.EndUnseen || !e.EndedAt.Equal(e.SeenTo) || !e.DownNow.IsZero() || !e.Watched {
			t.Errorf("%+v", e)
		}
	}
	if j := failover.Judge(es[3], time.Now()); j.Gained != time.Minute {
		t.Errorf("of an instance that is not in the config any more: %s, %s gained", j.Judgement, j.Gained)
	}
	snap, _ := w.ctl.Snapshot("orders")
	p := *snap.Policy
	before := len(kept[failover.Policy](w, policyKind))
	for range 3 {
		w.keepTape(t.Context(), failover.Tape{Version: 1, Instance: "else", Policy: "x", From: began}, &p)
	}
	if n := len(kept[failover.Policy](w, policyKind)) - before; n != 1 {
		t.Errorf("the policy is kept %d times", n)
	}
	w.policies.Range(func(k, _ any) bool { w.policies.Store(k, time.Now().Add(-policyEvery)); return true })
	told := p
	told.RideOut = time.Hour
	w.keepTape(t.Context(), failover.Tape{Version: 1, Instance: "else", Policy: "x", From: began}, &told)
	if ps := kept[failover.Policy](w, policyKind); len(ps) != before+1 || ps[len(ps)-1].RideOut != time.Hour {
		t.Errorf("after a while it is not told again: %d", len(ps)-before)
	}
	w.policies.Clear() // as the next life begins
	w.keepTape(t.Context(), failover.Tape{Version: 1, Instance: "else", Policy: "x", From: began}, &p)
	if n := len(kept[failover.Policy](w, policyKind)) - before; n != 1 {
		t.Errorf("the policy is kept %d times after a restart", n)
	}
}

// TestThePastInWords: each kind of line in one line, and what is none as it is.
func TestThePastInWords(t *testing.T) {
	at := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	tape := failover.Tape{
		Version: 1, Instance: "orders", From: at, Until: at.Add(10 * time.Second), Clusters: [2]failover.ClusterName{"a", "b"},
		Vantages: []failover.VantageName{"v1"}, Standing: failover.Standing{Active: "a"}, Reasons: []string{"refused"},
		Notes: []string{"0 0 u u", "10 0 dR0 u", "20 . 0", "30 ! 3000"},
	}
	broken := tape
	broken.Notes = []string{"x"}
	for _, c := range []struct {
		kind string
		data any
		want string
	}{
		{episodeKind, failover.Episode{ID: "e1", Active: "a", Quorum: 2, Domains: 3, MostDown: 1, End: failover.EndRecovered, UpAt: at}, "e1 near-miss: 1 of 3 domains said down, 2 needed, and it came back; a was up again from"},
		{episodeKind, failover.Episode{ID: "e2", Active: "a", End: failover.EndMoved, Moved: &failover.Moved{At: at, Kind: "failover", By: "ann", To: "b", Op: "orders-1.1"}}, "ann moved it to b at"},
		{episodeKind, failover.Episode{ID: "e3", Active: "a", Began: at, WouldAt: at, Grace: time.Second}, "it is not over"},
		{episodeKind, map[string]int{"x": 1}, `{"x":1}`},
		{recordingKind, failover.Recording{Controller: "ctl-1", From: at, Until: at, Dropped: 7, Ended: true}, "and ended; 7 lines dropped"},
		{silenceKind, failover.Silence{Vantage: "v2", From: at, Instances: 3}, "vantage v2 is silent of 3 instances from"},
		{policyKind, failover.Policy{Instance: "orders", Expected: "0123456789abcdef", RideOut: time.Second, Auto: "auto"}, "runs by policy 0123456789ab: "},
		{ledger.KindVotes, tape, "4 notes in 10s: v1 says down of a: refused, v1 fell silent, the process stalled"},
		{ledger.KindVotes, broken, "the tape is damaged: note 1"},
		{ledger.KindVotes, "x", `"x"`},
	} {
		data, err := json.Marshal(c.data)
		if err != nil {
			t.Fatal(err)
		}
		if got := sampleWords(api.Sample{Kind: c.kind, Data: data}); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.kind, got, c.want)
		}
	}
}

// TestBadBundlesAreNamed: what cannot be read as a bundle, and why.
func TestBadBundlesAreNamed(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string][2]string{
		"text":            {"hello", "its history cannot be read: invalid character"},
		"empty":           {"", "its history cannot be read: it is empty"},
		"an object":       {`{"a":1}`, "its history cannot be read: it is no list of lines"},
		"cut short":       {`[{"id":7,"at":"2026-01-31T02:00:00Z"},{"id":8,"a`, "its history cannot be read: line 2: unexpected EOF"},
		"two lists":       {"[] []", "its history cannot be read: something stands behind its end"},
		"an absurd time":  {`[{"at":"99999-01-31T02:00:00Z"}]`, "its history cannot be read: line 1: "},
		"deep":            {"[" + strings.Repeat("[", 1<<20), "its history cannot be read: line 1: "},
		"a bomb of lines": {"[{}" + strings.Repeat(",{}", mostBundledLines) + "]", "its history cannot be read: more than 200000 lines"},
		"a bomb in one":   {`[{"data":"` + strings.Repeat("x", mostBundledLine) + `"}]`, "its history cannot be read: line 1 holds more than 4 MB"},
		"a broken gzip":   {"\x1f\x8bxxxxxxxxxxxxxxxxxxx", "gzip: invalid header"},
		"a broken zip":    {"PK\x03\x04xxxx", "zip: not a valid zip file"},
		"half an archive": {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "unexpected EOF"},
	} {
		file := filepath.Join(dir, "bundle")
		if err := os.WriteFile(file, []byte(c[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readBundle(file); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(dir, "archive")
	for name, c := range map[string]struct {
		members []packed
		says    string // empty: it is read
	}{
		"out of the folder":    {[]packed{{"../../etc/history.json", '0', "[]"}}, ""}, // only read, and written nowhere
		"a link":               {[]packed{{"history.json", '2', ""}}, "there is no history.json in it"},
		"a link, then a file":  {[]packed{{"x/history.json", '2', ""}, {"y/history.json", '0', "[]"}}, ""},
		"a folder":             {[]packed{{"history.json/", '5', ""}}, "there is no history.json in it"},
		"a file in the folder": {[]packed{{"history.json/x", '0', "[]"}}, "there is no history.json in it"},
		"a bomb":               {[]packed{{"history.json", '0', strings.Repeat(" ", mostBundled+1)}}, "it holds more than 256 MB"},
		"not in it":            {[]packed{{"x.json", '0', "[]"}}, "there is no history.json in it"},
	} {
		for kind, write := range map[string]func(*testing.T, string, []packed){"tar": writeTar, "zip": writeZip} {
			write(t, file, c.members)
			if _, err := readBundle(file); (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readBundle(fifo); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := readBundle(dir); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := readBundle(filepath.Join(dir, "none")); err == nil {
		t.Error("nothing was read")
	}
}

// packed is one member of an archive, of a kind of tar.
type packed struct {
	name string
	kind byte
	text string
}

func writeTar(t *testing.T, file string, ms []packed) {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for _, m := range ms {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Mode: 0o600, Size: int64(len(m.text))}
		if m.kind == tar.TypeSymlink {
			h.Linkname = "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), g.Close(), os.WriteFile(file, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func writeZip(t *testing.T, file string, ms []packed) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range ms {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		switch m.kind {
		case tar.TypeSymlink:
			h.SetMode(fs.ModeSymlink | 0o777)
			m.text = "/etc/passwd"
		case tar.TypeDir:
			h.SetMode(fs.ModeDir | 0o700)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(f, m.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(file, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}
