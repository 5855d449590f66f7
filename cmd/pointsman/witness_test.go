package main

import (
	"strings"
	"testing"
	"time"
)

// TestWhatNoWitnessMayHaveSeen: each rule that the story of secondaries holds
// answers against refuses what it is for. Times are seconds, and one answer is
// written as target and when it was asked for.
func TestWhatNoWitnessMayHaveSeen(t *testing.T) {
	began := time.Now()
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	// To b at 10 s, where every server showed it at 11 s; back to a at 20 s.
	moves := []moved{{target: "a."}, {target: "b.", from: at(10), by: at(11)}, {target: "a.", from: at(20), by: at(21)}}
	type answer struct {
		value string
		asked float64
	}
	for name, c := range map[string]struct {
		kind  string
		saw   []answer
		wrong string // part of the complaint; empty: all is well
	}{
		"in order":                    {"knot", []answer{{"a. 5", 1}, {"b. 5", 10.2}, {"a. 5", 20.2}}, ""},
		"another TTL is no move":      {"knot", []answer{{"a. 5", 1}, {"b. 5", 10.2}, {"b. 4", 12}, {"a. 5", 20.2}}, ""},
		"a step back":                 {"knot", []answer{{"a. 5", 1}, {"b. 5", 10.2}, {"a. 5", 10.3}, {"b. 5", 10.4}, {"a. 5", 20.2}}, "went back to a."},
		"stays behind":                {"knot", []answer{{"a. 5", 1}, {"b. 5", 10.2}}, "followed 1 of 2"},
		"a stranger":                  {"knot", []answer{{"a. 5", 1}, {"c. 5", 10.2}}, "went back to c."},
		"both processes of NSD":       {"nsd", []answer{{"a. 5", 1}, {"b. 5", 10.2}, {"a. 5", 10.3}, {"b. 5", 10.4}, {"a. 5", 20.2}}, ""},
		"one process of NSD":          {"nsd", []answer{{"a. 5", 1}, {"b. 5", 10.2}, {"a. 5", 11.3}, {"b. 5", 11.4}, {"a. 5", 20.2}}, "went back to a."},
		"before its time":             {"unbound", []answer{{"a. 5", 1}, {"b. 5", 10.2}, {"a. 5", 10.3}}, "answered a. 5 until"},
		"NSD ends at the old":         {"nsd", []answer{{"a. 5", 1}, {"b. 5", 10.2}, {"a. 5", 20.2}, {"b. 5", 20.3}}, "followed 1 of 2"},
		"a cache":                     {"unbound", []answer{{"a. 5", 1}, {"a. 1", 16.9}, {"b. 5", 17}, {"a. 5", 22}}, ""},
		"a cache that skips":          {"unbound", []answer{{"a. 5", 1}, {"a. 1", 16.9}, {"a. 5", 22}}, ""},
		"a cache beyond the TTL":      {"unbound", []answer{{"a. 5", 1}, {"a. 1", 17.1}, {"b. 5", 17.2}, {"a. 5", 22}}, "answered a. 1 until"},
		"a cache that steps back":     {"unbound", []answer{{"a. 5", 1}, {"b. 5", 12}, {"a. 3", 21}, {"b. 3", 21.1}}, "answered b. 3 until"},
		"a cache that never gets new": {"unbound", []answer{{"a. 5", 1}, {"b. 5", 12}}, "ended at"},
	} {
		w := &witness{}
		for _, a := range c.saw {
			w.values, w.at, w.last = append(w.values, a.value), append(w.at, at(a.asked)), append(w.last, at(a.asked))
		}
		wrong := w.followed(c.kind, moves)
		if c.kind == "unbound" {
			wrong = w.cached(moves)
		}
		if (c.wrong == "") != (wrong == "") || !strings.Contains(wrong, c.wrong) {
			t.Errorf("%s: %q, want %q", name, wrong, c.wrong)
		}
	}
}
