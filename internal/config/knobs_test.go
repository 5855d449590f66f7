package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

const reference = "../../docs/config.md"

// TestEveryKeyOfAnInstanceHasAKnob, and every figure that is shown: a key that
// is added needs a row, with what happens when it is larger or smaller.
func TestEveryKeyOfAnInstanceHasAKnob(t *testing.T) {
	keys := fields(reflect.TypeFor[instanceDoc]()).order
	for _, k := range keys {
		if KnobOf(k).Key == "" {
			t.Errorf("the key %s of an instance has no row in knobs", k)
		}
	}
	for _, k := range knobs {
		if !slices.Contains(keys, k.Key) {
			t.Errorf("the knob %s is no key of an instance", k.Key)
		}
		if k.Does == "" || k.Type == "" || (k.Larger == "") != (k.Smaller == "") {
			t.Errorf("the knob %s says too little: %+v", k.Key, k)
		}
		if (k.Type == "duration" || k.Type == "number") && (k.Unit == "" || k.Range == "" || k.Larger == "") {
			t.Errorf("the figure %s lacks unit, range or what larger and smaller do", k.Key)
		}
	}
	for _, w := range StarterWishes() {
		for _, e := range explainWish(t, w) {
			for _, k := range e.Knobs {
				if k.Does == "" || k.Value == "" || k.From == "" {
					t.Errorf("%s: the figure %q is not explained: %+v", w.Preset, k.Key, k)
				}
			}
		}
	}
}

func explainWish(t *testing.T, w Wish) []Explained {
	t.Helper()
	s, err := NewStarter(w)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Parse("pointsman.yaml", s.Text)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Explain()
}

var fullRow = regexp.MustCompile("(?m)^\\| (?:\\*\\*)?`([^`]+)`(?:\\*\\*)?(?: †)? \\| ([^|]*) \\| ([^|]*) \\| (.*) \\|$")

// TestReferenceSaysWhatTheKnobsSay: type, default and meaning of every knob.
func TestReferenceSaysWhatTheKnobsSay(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	for _, k := range knobs {
		at := regexp.MustCompile("(?m)^(\\| (?:\\*\\*)?`instances\\[\\]\\." + regexp.QuoteMeta(k.Key) + "`(?:\\*\\*)?) \\| (.*)$").FindStringSubmatchIndex(doc)
		if at == nil {
			t.Errorf("the reference has no row of %s", k.Key)
			continue
		}
		want := fmt.Sprintf("%s | %s | %s |", k.Type, defaultText(k), k.Text())
		if got := doc[at[4]:at[5]]; got != want {
			if !*update {
				t.Errorf("%s: the reference has\n%s\nthe table of knobs\n%s", k.Key, got, want)
			}
			doc = doc[:at[4]] + want + doc[at[5]:]
		}
	}
	table := "\n| key | larger | smaller |\n|---|---|---|\n"
	for _, k := range knobs {
		if k.Larger != "" {
			table += fmt.Sprintf("| %s | %s | %s |\n", k.Key, k.Larger, k.Smaller)
		}
	}
	const begin, end = "<!-- larger and smaller: begin -->\n", "\n<!-- larger and smaller: end -->"
	before, rest, ok := strings.Cut(doc, begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the reference lacks the table of larger and smaller")
	}
	if got != table && !*update {
		t.Errorf("larger and smaller: the reference has\n%s\nthe table of knobs\n%s", got, table)
	}
	if *update {
		if err := os.WriteFile(reference, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// defaultText is what a key has without being written, with the three presets.
func defaultText(k Knob) string {
	switch k.Key {
	case "check", "checks", "name", "preset", "names", "clusters", "primary":
		return ""
	case "replication", "hooks", "freeze":
		return "none"
	case "combine":
		return "`all`"
	}
	var vals []string
	for _, preset := range failover.Presets {
		p, err := failover.PresetPolicy(preset)
		if err != nil {
			panic(err)
		}
		val := string(presetWatch(preset))
		for _, s := range settings(&instanceDoc{}, p, p, nil) {
			if s.Key == k.Key {
				val = s.Value
			}
		}
		if strings.HasPrefix(k.Type, "word") {
			val = "`" + val + "`"
		}
		if k.Type == "list" {
			val = strings.ReplaceAll(val, ", ", " and ")
		}
		vals = append(vals, val)
	}
	switch {
	case strings.HasPrefix(k.Type, "word") && vals[0] == vals[1] && vals[1] == vals[2]:
		return vals[0]
	case k.Type == "list":
		return strings.Join(vals, "; ")
	}
	return strings.Join(vals, ", ")
}

// TestKeyTextsAreThoseOfTheReference: the schema describes keys as the
// reference does.
func TestKeyTextsAreThoseOfTheReference(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)
	var b strings.Builder
	controller, vantage, ok := strings.Cut(string(data), "\n## vantage.yaml\n")
	if !ok {
		t.Fatal("the reference lacks vantage.yaml")
	}
	for part, text := range []string{controller, vantage} {
		prefix := []string{"", vantagePart}[part]
		for _, m := range fullRow.FindAllStringSubmatch(text, -1) {
			if m[4] != "as in pointsman.yaml" {
				fmt.Fprintf(&b, "%s%s\t%s\n", prefix, m[1], links.ReplaceAllString(m[4], "$1"))
			}
		}
	}
	if *update {
		if err := os.WriteFile("keys.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != keysText {
		t.Error("keys.txt differs from docs/config.md: go test ./internal/config -run TestKeyTexts -update")
	}
	if n := strings.Count(keysText, "\n"); n < 150 {
		t.Errorf("keys.txt has only %d keys", n)
	}
}

// TestRangesOfKnobsAreThoseOfTheLoader: what lies just inside is taken, what
// lies just outside is refused with that very range.
func TestRangesOfKnobsAreThoseOfTheLoader(t *testing.T) {
	ranged, ends := 0, regexp.MustCompile(`^(\S+) to ([^\s,]+)`)
	for _, k := range knobs {
		m := ends.FindStringSubmatch(k.Range)
		if m == nil || k.Type != "duration" && k.Type != "number" {
			continue
		}
		ranged++
		for _, edge := range []struct {
			value string
			taken bool
		}{{m[1], true}, {m[2], true}, {beyond(t, m[1], -1), false}, {beyond(t, m[2], 1), false}} {
			if strings.HasPrefix(edge.value, "-") {
				continue // a negative duration has a message of its own
			}
			s, err := NewStarter(Wish{Preset: failover.PresetHTTP, Topology: TopologyHTTP, Provider: StarterEmbedded})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("x.yaml", append(s.Text, fmt.Sprintf("    %s: %s\n", k.Key, edge.value)...))
			complaint := fmt.Sprintf("%s: %s is outside %s to %s", k.Key, edge.value, m[1], m[2])
			if refused := err != nil && strings.Contains(err.Error(), complaint); refused == edge.taken {
				t.Errorf("%s: %s with the range %q: %v", k.Key, edge.value, k.Range, err)
			}
		}
	}
	if ranged < 10 {
		t.Errorf("only %d knobs have a range", ranged)
	}
}

// beyond is the next value past an end of a range.
func beyond(t *testing.T, end string, by int) string {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(end, "%d", &n); err == nil && fmt.Sprint(n) == end {
		return fmt.Sprint(n + by)
	}
	days := 0
	if _, err := fmt.Sscanf(end, "%dd", &days); err == nil && strings.HasSuffix(end, "d") {
		return fmt.Sprintf("%dd", days+by)
	}
	d, err := time.ParseDuration(end)
	if err != nil {
		t.Fatal(err)
	}
	if by < 0 {
		return (d - time.Millisecond).String()
	}
	return figure(d + time.Second)
}
