package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const defaultKept = 1000

// folder writes one file for each message: for people without a chat, for a
// shipper of files, and as the record of last resort.
type folder struct {
	dir  string
	keep int
	w    writer
}

func newFolder(c Channel, s *Setup, o outer) (sender, error) {
	if c.Path == "" {
		return nil, errors.New("a folder needs its path")
	}
	f := &folder{dir: c.Path, keep: c.Keep, w: c.writer(s, o)}
	if f.keep <= 0 {
		f.keep = defaultKept
	}
	return f, nil
}

// send writes the files of a parcel. Their names follow from the parcel, so
// that a second try replaces the first.
func (f *folder) send(ctx context.Context, p *parcel) error {
	if err := os.MkdirAll(f.dir, 0o750); err != nil {
		return plain(err)
	}
	m := p.newest()
	stem := m.At.UTC().Format("20060102T150405Z") + "-" + string(m.State) + "-" + inName(string(m.Instance)+"-"+m.Kind) + "-" + idInName(p.id)
	files := [][2]string{{stem + ".txt", f.w.write(p).Plain()}}
	if d := p.document(); d != nil {
		files = f.document(stem, d)
	}
	for _, x := range files {
		if err := ctx.Err(); err != nil {
			return errNoAnswer
		}
		if err := writeWhole(f.dir, x[0], []byte(x[1])); err != nil {
			return plain(err)
		}
	}
	return plain(f.prune())
}

// document lists the files of a report. Its page shows the charts that lie
// beside it.
func (f *folder) document(stem string, d *Document) [][2]string {
	var out [][2]string
	html := d.HTML
	for _, i := range d.PNGs {
		name := stem + "-" + inName(strings.TrimSuffix(i.Name, ".png")) + ".png"
		html = strings.ReplaceAll(html, "cid:"+i.Name, name)
		out = append(out, [2]string{name, string(i.Data)})
	}
	for _, x := range [][2]string{{".md", d.Markdown}, {".json", string(d.JSON)}, {".html", html}} {
		if x[1] != "" {
			out = append(out, [2]string{stem + x[0], x[1]})
		}
	}
	return append(out, [2]string{stem + ".txt", d.Title + "\n" + d.Summary + "\n"})
}

// writeWhole writes a file that is there whole or not at all, also after a
// power cut.
func writeWhole(dir, name string, data []byte) (err error) {
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o640), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ours is the form of the names that we give.
var ours = regexp.MustCompile(`^(\d{8}T\d{6}Z-(fire|resolve|info)-.*)\.txt$`)

// prune removes the oldest messages beyond those that are kept, with the files
// that belong to them. What others put into the folder stays.
func (f *folder) prune() error {
	all, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var stems []string
	for _, e := range all {
		if m := ours.FindStringSubmatch(e.Name()); m != nil {
			stems = append(stems, m[1])
		}
	}
	if len(stems) <= f.keep {
		return nil
	}
	slices.Sort(stems)
	old := stems[:len(stems)-f.keep]
	for _, e := range all {
		for _, s := range old {
			if strings.HasPrefix(e.Name(), s+".") || strings.HasPrefix(e.Name(), s+"-") {
				if err := os.Remove(filepath.Join(f.dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
		}
	}
	return nil
}

// inName is a text as it may stand in the name of a file.
func inName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
	return orElse(strings.Trim(clipBytes(s, 80), "-"), "x")
}

// idInName is an ID in the name of a file: short, and another for each.
func idInName(id string) string {
	s := inName(id)
	if len(s) <= 16 {
		return s
	}
	sum := sha256.Sum256([]byte(id))
	return s[:7] + "-" + hex.EncodeToString(sum[:4])
}

// plain says what the system says, without the operation.
func plain(err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}
