package notify

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

var update = flag.Bool("update", false, "write the golden files anew")

var languages = map[Language]*words{English: &english, Chinese: &chinese}

// Both languages have words for the same kinds, the same votes and the same
// things to come, and none is empty.
func TestBothLanguagesSayEverything(t *testing.T) {
	keys := func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
	if a, b := slices.Sorted(maps.Keys(english.kinds)), slices.Sorted(maps.Keys(chinese.kinds)); !slices.Equal(a, b) {
		t.Errorf("English has %v\nChinese has %v", a, b)
	}
	if a, b := keys(english.wills), keys(chinese.wills); !slices.Equal(a, b) || len(a) != 5 {
		t.Errorf("English has %v\nChinese has %v", a, b)
	}
	han := regexp.MustCompile(`\p{Han}`)
	for l, w := range languages {
		for k, p := range w.kinds {
			if p.Head == "" || han.MatchString(p.Head) != (l == Chinese) || p.Do != "" && han.MatchString(p.Do) != (l == Chinese) {
				t.Errorf("%s: %s says %+v", l, k, p)
			}
		}
		for _, v := range []failover.Vote{failover.Unknown, failover.Up, failover.Down} {
			if w.votes[v] == "" {
				t.Errorf("%s has no word for %s", l, v)
			}
		}
		v := reflect.ValueOf(*w)
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.String && f.String() == "" {
				t.Errorf("%s: %s is empty", l, v.Type().Field(i).Name)
			}
		}
		for k, form := range w.wills {
			if strings.Count(form, "%") != strings.Count(form, "%s") {
				t.Errorf("%s: %s is %q", l, k, form)
			}
		}
	}
}

func texts(l Language) writer {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		panic(err)
	}
	return writer{lang: l, zone: shanghai, runbook: "https://wiki.example.com/KIND", now: func() time.Time { return noon.Add(30 * time.Second) }}
}

// What people read, word for word.
func TestTheTextsAsPeopleReadThem(t *testing.T) {
	loss := message("0123")
	loss.Loss, loss.Shadow = &Loss{Bound: 12 * time.Second, Rows: 340}, true
	odd := message("0123")
	odd.Kind, odd.Will, odd.WillAt, odd.Evidence = "comet", "a word of its own", time.Time{}, nil
	over := &Message{ID: "9", Instance: "orders", Kind: Over, State: Resolve, At: noon, Title: "a down, b up", From: "ctl-1"}
	first, second := message("1"), message("2")
	first.Kind, first.Text = "operation", "failover of orders from a to b"
	news := &Message{ID: "r", State: Info, Kind: ReportKind, At: noon, From: "ctl-1", Document: &Document{Title: "weekly", Summary: "orders could fail over\npay could not"}}
	for name, p := range map[string]*parcel{
		"held": single(message("0123456789abcdef01234567")), "shadow": single(loss), "unknown": single(odd), "over": single(over),
		"digest": {id: "d1", msgs: []*Message{first, second, message("3")}}, "report": single(news),
	} {
		for l := range languages {
			x := texts(l).write(p)
			got := x.Plain() + "\n--- markdown\n" + x.Markdown()
			file := filepath.Join("testdata", name+"-"+string(l)+".txt")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
			}
		}
	}
}

// Words from outside forge no line, move no cursor, call nobody and make no
// link.
func TestWordsFromOutsideAreTamed(t *testing.T) {
	m := *message("1")
	m.Text = "a\r\nFrom: x\x1b[31m\u202eevil\u2028b"
	m.Evidence = []Sight{{Cluster: "a", Vantage: "v\n1", Vote: failover.Down, Reason: "[click](http://evil.example.com) @all <!here> `x`"}}
	m.Commands = make([]string, 100)
	for i := range m.Commands {
		m.Commands[i] = "c"
	}
	m = m.bound()
	if strings.ContainsAny(m.Text, "\r\n\x1b\u202e\u2028") || len(m.Commands) != maxLines || m.Commands[maxLines-1] != ellipsis {
		t.Errorf("%q, %d commands", m.Text, len(m.Commands))
	}
	x := texts(English).write(single(&m))
	if got := x.Markdown(); strings.Contains(got, "](") || strings.Contains(got, "@all") || strings.Contains(got, "<!here>") || strings.Contains(got, "`") {
		t.Errorf("got %s", got)
	}
	if got := clipBytes(strings.Repeat("很", 10), 10); got != "很很"+ellipsis {
		t.Errorf("got %q", got)
	}
	if got := oneLine(strings.Repeat("很", 10), 4); got != "很很很"+ellipsis {
		t.Errorf("got %q", got)
	}
}
