package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoReport is what asking for a report that is not kept gives.
var ErrNoReport = errors.New("there is no such report")

const (
	maxKept = 64 << 20 // bytes of one kept file that are read
	maxHead = 64 << 10 // bytes in which the head of a report lies
)

// files are the kept reports: DIR/NAME/MOMENT.{html,md,json}, for the owner
// alone, each written whole or not at all.
type files struct{ dir string }

var (
	nameForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$`)
	momentForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z(-[0-9]{1,3})?$`)
)

// split takes an ID apart. It is a path below the folder and comes from
// outside, so nothing but a name and a moment passes.
func splitID(id string) (name, moment string, err error) {
	name, moment, ok := strings.Cut(id, "/")
	if !ok || !nameForm.MatchString(name) || !momentForm.MatchString(moment) {
		return "", "", fmt.Errorf("%.80q is no ID of a report: %w", id, ErrNoReport)
	}
	return name, moment, nil
}

// IsName says whether a report may be called so.
func IsName(s string) bool { return nameForm.MatchString(s) }

// write keeps the forms of a report and removes what is older than the newest
// keep of the name.
func (f files) write(id string, forms map[Format][]byte, keep int) error {
	name, moment, err := splitID(id)
	if err != nil {
		return err
	}
	dir := filepath.Join(f.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// JSON last: it makes the report visible to list.
	for _, form := range []Format{HTML, Markdown, JSON} {
		if data, ok := forms[form]; ok {
			if err := writeFile(filepath.Join(dir, moment+suffixes[form]), data); err != nil {
				return err
			}
		}
	}
	return f.prune(name, keep)
}

// writeFile puts a whole file in the place of an older one, synced: after a
// power cut there is one or the other.
func writeFile(path string, data []byte) (err error) {
	tmp := path + ".tmp"
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	if _, err = out.Write(data); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// moments lists what is kept under a name, oldest first.
func (f files) moments(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if m, ok := strings.CutSuffix(e.Name(), suffixes[JSON]); ok && momentForm.MatchString(m) && e.Type().IsRegular() {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return out, nil
}

// ours are the files that belong to a report, also half written.
var ours = regexp.MustCompile(`^([0-9TZ-]+)\.(html|md|json)(\.tmp)?$`)

// prune removes what is older than the newest keep of a name, and what a
// process that was killed left behind: it is called while nothing is written.
func (f files) prune(name string, keep int) error {
	ms, err := f.moments(name)
	if err != nil {
		return err
	}
	ms = ms[max(len(ms)-keep, 0):]
	dir := filepath.Join(f.dir, name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var old []string
	for _, e := range entries {
		m := ours.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() || !momentForm.MatchString(m[1]) || m[3] == "" && slices.Contains(ms, m[1]) {
			continue
		}
		old = append(old, e.Name())
	}
	// The JSON first: without it nothing is in the list.
	slices.SortStableFunc(old, func(a, b string) int {
		return -cmp.Compare(strings.Count(a, suffixes[JSON]), strings.Count(b, suffixes[JSON]))
	})
	for _, x := range old {
		if err := os.Remove(filepath.Join(dir, x)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// free is an ID that is not taken: two that are asked for within a second get
// different ones.
func (f files) free(id string) string {
	name, moment, err := splitID(id)
	if err != nil {
		return id
	}
	for n := 2; n < 1000; n++ {
		if _, err := os.Lstat(filepath.Join(f.dir, name, moment+suffixes[JSON])); err != nil {
			break
		}
		_, base, _ := splitID(id)
		moment = fmt.Sprintf("%s-%d", base, n)
	}
	return name + "/" + moment
}

// names lists the names under which something is kept.
func (f files) names() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && nameForm.MatchString(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// read returns one form of a kept report.
func (f files) read(id string, form Format) ([]byte, error) {
	name, moment, err := splitID(id)
	if err != nil {
		return nil, err
	}
	data, err := readFile(filepath.Join(f.dir, name, moment+suffixes[form]), maxKept)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s as %s: %w", id, form, ErrNoReport)
	}
	return data, err
}

func readFile(path string, most int64) ([]byte, error) {
	in, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}

// report reads a kept report whole.
func (f files) report(id string) (*Report, error) {
	data, err := f.read(id, JSON)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", id, err)
	}
	if r.Version != Version {
		return nil, fmt.Errorf("%s has version %d, this program reads %d", id, r.Version, Version)
	}
	return &r, nil
}

// newest is the ID of the newest report of a name but one, empty without one.
func (f files) newest(name, but string) (string, error) {
	ms, err := f.moments(name)
	if err != nil {
		return "", err
	}
	for _, m := range slices.Backward(ms) {
		if id := name + "/" + m; id != but {
			return id, nil
		}
	}
	return "", nil
}

// Line is one kept report in a list.
type Line struct {
	ID      string
	Head    Report // without what comes after its head
	Trouble string // why it cannot be read
}

// list returns what is kept, newest first.
func (f files) list(name string) ([]Line, error) {
	names := []string{name}
	if name == "" {
		var err error
		if names, err = f.names(); err != nil {
			return nil, err
		}
	}
	var out []Line
	for _, n := range names {
		ms, err := f.moments(n)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			l := Line{ID: n + "/" + m}
			if l.Head, err = f.head(n, m); err != nil {
				l.Head, l.Trouble = Report{Name: n}, err.Error()
			}
			out = append(out, l)
		}
	}
	slices.SortStableFunc(out, func(a, b Line) int {
		_, x, _ := strings.Cut(a.ID, "/")
		_, y, _ := strings.Cut(b.ID, "/")
		return strings.Compare(y, x)
	})
	return out, nil
}

// head reads a kept report up to its instances: of ten thousand it is megabytes.
func (f files) head(name, moment string) (Report, error) {
	in, err := os.OpenFile(filepath.Join(f.dir, name, moment+suffixes[JSON]), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Report{}, err
	}
	defer in.Close()
	return readHead(io.LimitReader(in, maxHead))
}

func readHead(in io.Reader) (Report, error) {
	var r Report
	dec := json.NewDecoder(in)
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return r, errors.New("it is no report")
	}
	fields := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return r, errors.New("it breaks off in its head")
		}
		if key == "instances" {
			break
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return r, errors.New("it breaks off in its head")
		}
		fields[fmt.Sprint(key)] = raw
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("its head cannot be read: %w", err)
	}
	if r.Version != Version {
		return r, fmt.Errorf("it has version %d, this program reads %d", r.Version, Version)
	}
	return r, nil
}

// encode is the JSON of a report.
func (r *Report) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(true) // a browser may open it
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
