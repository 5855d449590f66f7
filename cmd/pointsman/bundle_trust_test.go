package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// Each policy is kept once, of each instance, in its newest line.
func TestABundleHasEachPolicyOnce(t *testing.T) {
	line := func(id int64, i failover.InstanceName, hash string) api.Sample {
		data, err := json.Marshal(failover.Policy{Instance: i, Expected: hash})
		if err != nil {
			t.Fatal(err)
		}
		return api.Sample{ID: id, Instance: i, Kind: policyKind, Data: data}
	}
	got := newestPolicies([]api.Sample{line(1, "a", "x"), line(2, "a", "y"), line(3, "b", "x"), line(4, "a", "x"), {ID: 5, Data: json.RawMessage(`"?"`)}})
	ids := ""
	for _, s := range got {
		ids += string(rune('0' + s.ID))
	}
	if ids != "234" {
		t.Errorf("kept the lines %s", ids)
	}
}

func TestNewestWithinKeepsWhatFits(t *testing.T) {
	lines := []string{strings.Repeat("a", 100), strings.Repeat("b", 100), strings.Repeat("c", 100)}
	for most, want := range map[int]int{10: 0, 150: 1, 250: 2, 1000: 3} {
		kept, left := newestWithin(lines, most)
		if len(kept) != want || left != 3-want || want > 0 && kept[want-1] != lines[2] {
			t.Errorf("within %d: %d kept, %d left", most, len(kept), left)
		}
	}
}

// The votes of an archive go before its history, wherever either stands; one of
// an earlier version has a history only.
func TestAReplayReadsTheVotesOfABundle(t *testing.T) {
	votes, history := `[{"id":1,"at":"2026-11-29T00:00:00Z","instance":"votes","kind":"x"}]`, `[{"id":2,"at":"2026-11-29T00:00:00Z","instance":"history","kind":"x"}]`
	type entry struct{ name, text string }
	for name, c := range map[string]struct {
		in   []entry
		want string
	}{
		"history first":  {[]entry{{"p/history.json", history}, {"p/votes.json", votes}}, "votes"},
		"votes first":    {[]entry{{"p/votes.json", votes}, {"p/history.json", history}}, "votes"},
		"an earlier one": {[]entry{{"p/other.json", "?"}, {"p/history.json", history}, {"p/z.json", "?"}}, "history"},
	} {
		var tarred, zipped bytes.Buffer
		g := gzip.NewWriter(&tarred)
		tw, zw := tar.NewWriter(g), zip.NewWriter(&zipped)
		for _, e := range c.in {
			err := tw.WriteHeader(&tar.Header{Name: e.name, Mode: 0o600, Size: int64(len(e.text))})
			if err == nil {
				_, err = tw.Write([]byte(e.text))
			}
			w, zerr := zw.Create(e.name)
			if err != nil || zerr != nil {
				t.Fatal(err, zerr)
			}
			if _, err := w.Write([]byte(e.text)); err != nil {
				t.Fatal(err)
			}
		}
		if tw.Close() != nil || g.Close() != nil || zw.Close() != nil {
			t.Fatal("not closed")
		}
		for kind, data := range map[string][]byte{"tar": tarred.Bytes(), "zip": zipped.Bytes()} {
			file := filepath.Join(t.TempDir(), "b")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			ss, err := readBundle(file)
			if err != nil || len(ss) != 1 || string(ss[0].Instance) != c.want {
				t.Errorf("%s, %s: %+v, %v; want %s", name, kind, ss, err, c.want)
			}
		}
	}
}
