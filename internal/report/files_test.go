package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheNewestAreKept(t *testing.T) {
	f := files{t.TempDir()}
	begin := at("2026-11-01T08:00:00Z")
	for i := range 5 {
		id := idOf("daily", begin.Add(time.Duration(i)*24*time.Hour))
		forms := map[Format][]byte{JSON: []byte("{}"), HTML: []byte("page"), Markdown: []byte("text")}
		if err := f.write(id, forms, 3); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	entries, err := os.ReadDir(filepath.Join(f.dir, "daily"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
		names = append(names, e.Name())
	}
	if len(names) != 9 || names[0] != "2026-11-03T080000Z.html" {
		t.Errorf("%q", names)
	}
	for _, id := range []string{"daily", "daily/x", "../daily/2026-11-03T080000Z", "daily/2026-11-03T080000Z/../x", "/2026-11-03T080000Z", "Daily/2026-11-03T080000Z"} {
		if err := f.write(id, map[Format][]byte{JSON: nil}, 1); err == nil {
			t.Errorf("%q was written", id)
		}
	}
}

// TestKeptReportsThatCannotBeRead stand in the list, each with why, and do not
// hide the others.
func TestKeptReportsThatCannotBeRead(t *testing.T) {
	f := files{t.TempDir()}
	good, err := sampleReport().encode()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ text, want string }{
		{string(good), ""},
		{"", "it is no report"},
		{"[1]", "it is no report"},
		{"{", "it has version 0, this program reads 1"},
		{`{"version": 1, "name": "dai`, "it breaks off in its head"},
		{`{"version": 2, "instances": []}`, "it has version 2, this program reads 1"},
		{`{"version": "1", "instances": []}`, "its head cannot be read: json: cannot unmarshal string into Go struct field Report.version of type int"},
		{string(good[:len(good)/2]), ""}, // its head is whole
		{`{"name": "` + strings.Repeat("x", maxHead) + `"}`, "it breaks off in its head"},
	} {
		moment := fmt.Sprintf("2026-11-%02dT080000Z", i+1)
		if err := os.MkdirAll(filepath.Join(f.dir, "daily"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.dir, "daily", moment+".json"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		ls, err := f.list("daily")
		if err != nil || len(ls) != i+1 {
			t.Fatalf("%d lines, %v", len(ls), err)
		}
		if ls[0].Trouble != c.want {
			t.Errorf("%.40q: %q, want %q", c.text, ls[0].Trouble, c.want)
		}
		if c.want == "" && (ls[0].Head.Verdict.Level != Bad || ls[0].Head.Late == nil || len(ls[0].Head.Instances) != 0) {
			t.Errorf("%+v", ls[0].Head)
		}
		if _, err := f.report("daily/" + moment); (err == nil) != (i == 0) {
			t.Errorf("%.40q as a whole: %v", c.text, err)
		}
	}
	// Links and what nobody here wrote are left out.
	if err := os.Symlink("/etc/passwd", filepath.Join(f.dir, "daily", "2026-12-01T080000Z.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "daily", "notes.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if ls, err := f.list(""); err != nil || len(ls) != 9 {
		t.Errorf("%d lines, %v", len(ls), err)
	}
	if _, err := f.read("daily/2026-12-01T080000Z", JSON); err == nil {
		t.Error("a link was followed")
	}
}

// TestTheHeadComesFirst: a list reads no more than that.
func TestTheHeadComesFirst(t *testing.T) {
	data, err := sampleReport().encode()
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := bytes.Cut(data, []byte(`"instances":[`))
	if !ok || len(head) > 4096 {
		t.Fatalf("the head has %d bytes", len(head))
	}
	for _, key := range []string{`"version"`, `"id"`, `"verdict"`, `"counts"`, `"late"`, `"made_at"`} {
		if !bytes.Contains(head, []byte(key)) {
			t.Errorf("%s is not in the head", key)
		}
	}
}

func FuzzHead(f *testing.F) {
	good, err := sampleReport().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"instances":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readHead(bytes.NewReader(data))
		if err == nil && r.Version != Version {
			t.Fatalf("version %d", r.Version)
		}
	})
}
