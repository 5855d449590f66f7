package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// severalItems is full with n instances, some of them with what makes a cut
// hard: comments, empty lines, texts over several lines, checks that warn.
func severalItems(n int) string {
	i := strings.Index(full, "  - name: orders")
	head, one := full[:i], full[i:]
	var b strings.Builder
	b.WriteString(head)
	for k := range n {
		name := fmt.Sprintf("i%d", k)
		item := strings.NewReplacer("name: orders", "name: "+name, "Orders.lab.test", name+".lab.test", "orders.example.com.", name+".example.com.").Replace(one)
		switch k % 4 {
		case 1:
			item += "  # - name: a comment that looks like one\n\n"
		case 2:
			item = strings.Replace(item, "type: http, path", "type: http, body: {contains: \"a\n          - name: b\"}, path", 1)
		case 3:
			i, j := strings.Index(item, "    check:"), strings.Index(item, "    ride_out")
			item = item[:i] + "    check: {type: tcp}\n    move_proof: waived\n" + item[j:]
			item = strings.ReplaceAll(item, ", identity: two", "")
		}
		b.WriteString(item)
	}
	return b.String()
}

// sameConfig compares everything that two configs hold.
func sameConfig(t interface {
	Helper()
	Errorf(string, ...any)
}, got, want *Config,
) {
	t.Helper()
	for what, pair := range map[string][2]any{
		"doc": {got.doc, want.doc}, "warnings": {got.Warnings, want.Warnings}, "instances": {got.Instances, want.Instances},
		"authority": {got.Authority, want.Authority}, "providers": {got.Providers, want.Providers}, "contents": {got.Contents, want.Contents},
		"controller": {got.Controller, want.Controller}, "vantages": {got.Vantages, want.Vantages},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, pair[0], pair[1])
		}
	}
	if ds := Diff(want, got); len(ds) > 0 {
		t.Errorf("they differ: %v", ds)
	}
}

// asAWhole compiles without cutting.
func asAWhole(name, text string) (*Config, error) {
	c, doc := newCompiler(name, []byte(text), nil), &fileDoc{}
	if !c.decode([]byte(text), doc, controllerKind) {
		return nil, c.err()
	}
	cfg := &Config{File: name, Contents: c.made, doc: doc}
	return cfg, c.compile(cfg, nil, nil)
}

// TestWhatIsCutIsWhatIsParsedAsAWhole: a text in random states, each made of
// the one before by random edits of lines, comes to the same config or the
// same mistakes, whether it is parsed as a whole, by items, or beside the
// config before.
func TestWhatIsCutIsWhatIsParsedAsAWhole(t *testing.T) {
	base := strings.Split(severalItems(9), "\n")
	var cut, taken int
	rapid.Check(t, func(t *rapid.T) {
		lines := append([]string(nil), base...)
		old, err := compileFile("x.yaml", []byte(strings.Join(lines, "\n")), nil, nil)
		if err != nil || old.items == nil || len(old.items.starts) != 9 {
			t.Fatalf("%v, cut %+v", err, old)
		}
		for range rapid.IntRange(1, 4).Draw(t, "states") {
			for range rapid.IntRange(1, 2).Draw(t, "edits") {
				i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
				j := rapid.IntRange(0, len(lines)-1).Draw(t, "other")
				switch rapid.IntRange(0, 8).Draw(t, "edit") {
				case 0:
					lines = append(lines[:i:i], lines[i+1:]...)
				case 1:
					lines = append(lines[:i:i], append([]string{lines[j]}, lines[i:]...)...)
				case 2:
					lines = append(lines[:i:i], append([]string{rapid.SampledFrom([]string{"", "# x", "  - ", `"`, "}", "---", "instances:", "x: |", "  - name: new", "\t"}).Draw(t, "text")}, lines[i:]...)...)
				case 3:
					lines[i], lines[j] = lines[j], lines[i]
				case 4:
					lines[i] = strings.Replace(lines[i], "4s", "5s", 1)
				case 5: // a whole item away, or to another place
					if it, ok := cutItems(lines); ok {
						from, to := it.lines(i % len(it.starts))
						item := append([]string(nil), lines[from:to]...)
						lines = append(lines[:from:from], lines[to:]...)
						if it, ok := cutItems(lines); ok && j%2 == 0 {
							at := it.starts[j%len(it.starts)]
							lines = append(lines[:at:at], append(item, lines[at:]...)...)
						}
					}
				case 6, 7: // only numbers of an item
					for k := range lines {
						if l := &lines[(i+k)%len(lines)]; strings.Contains(*l, "ride_out:") {
							*l = fmt.Sprintf("    ride_out: %ds", 1+j%60)
							break
						}
					}
				case 8:
					lines[i] += " # x"
				}
			}
			text := strings.Join(lines, "\n")
			want, wantErr := asAWhole("x.yaml", text)
			for _, from := range []*Config{nil, old} {
				got, err := compileFile("x.yaml", []byte(text), nil, from)
				if fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Fatalf("%s\ngot %v\nwant %v", text, err, wantErr)
				}
				if err != nil {
					continue
				}
				sameConfig(t, got, want)
				if got.items != nil {
					cut++
					if from != nil && got.items.frame == from.items.frame {
						taken++
					}
				}
				old = got
				if old.items == nil {
					return
				}
			}
		}
	})
	if cut == 0 || taken == 0 {
		t.Errorf("%d were cut, %d taken over: the test shows nothing", cut, taken)
	}
	t.Logf("%d cut, %d under the same frame", cut, taken)
}

// TestAnInstanceThatOthersChangeIsNotTakenOver: its own text is the same, and
// what it comes to is not.
func TestAnInstanceThatOthersChangeIsNotTakenOver(t *testing.T) {
	text := severalItems(3)
	file := filepath.Join(t.TempDir(), "pointsman.yaml")
	load := func(text string, old *Config) (*Config, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if old == nil {
			return Load(file)
		}
		return LoadAfter(old)
	}
	old, err := load(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, by := range map[string][]string{
		"the frame":             {"domain: rack-2", "domain: rack-4"},
		"its target is managed": {"name: i2.example.com., provider: bind, targets: {b: b.example", "name: b.example.com., provider: bind, targets: {b: c.example"},
		"its name is managed":   {"name: i2.lab.test", "name: i1.lab.test"},
		"its instance is there": {"- name: i2", "- name: i1"},
	} {
		changed := strings.NewReplacer(by...).Replace(text)
		got, err := load(changed, old)
		want, wantErr := load(changed, nil)
		if changed == text || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: got %v, want %v", what, err, wantErr)
		}
		if err == nil {
			sameConfig(t, got, want)
		}
	}
}

func TestTheFileOfACheckIsReadAnew(t *testing.T) {
	dir := t.TempDir()
	file, ca := filepath.Join(dir, "pointsman.yaml"), filepath.Join(dir, "ca.pem")
	text := strings.Replace(severalItems(2), "type: http, path", "type: https, ca_file: ca.pem, path", 1)
	for _, f := range []struct{ path, text string }{{file, text}, {ca, testCA}} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, []byte(testCA+testCA), 0o600); err != nil {
		t.Fatal(err)
	}
	now, err := LoadAfter(old)
	if err != nil {
		t.Fatal(err)
	}
	if now.Sum() == old.Sum() || len(Diff(old, now)) != 1 {
		t.Errorf("the change of ca_file was not seen: %v", Diff(old, now))
	}
}

func TestAVantageFileIsCutToo(t *testing.T) {
	text, err := VantageYAML(parse(t, severalItems(6)), "van-2")
	if err != nil {
		t.Fatal(err)
	}
	old, err := compileVantageFile("vantage.yaml", text, nil, nil)
	if err != nil || old.items == nil || len(old.items.starts) != 6 {
		t.Fatalf("%v, not cut: %s", err, text)
	}
	other := []byte(strings.Replace(strings.Replace(string(text), "\ninstances:", "\n# x\ninstances:", 1), "ride_out: 4s", "ride_out: 5s", 1))
	now, err := compileVantageFile("vantage.yaml", other, nil, old)
	if err != nil {
		t.Fatal(err)
	}
	want, err := compileVantageFile("vantage.yaml", other, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(now, want) || lines(DiffVantage(old, now)) != "instances.i0.ride_out: 4s → 5s" {
		t.Errorf("the differences are %v\n got %+v\nwant %+v", DiffVantage(old, now), now, want)
	}
}
