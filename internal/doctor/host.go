package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Host is a machine as its files show it. The zero value is this one; tests
// have a folder with an etc and a proc of their own.
type Host struct{ Root string }

// ErrNoFile: the file is not there.
var ErrNoFile = errors.New("there is no such file")

// maxHostFile bounds what is read of one file: whatever lies there, it must
// not fill the memory.
const maxHostFile = 1 << 20

func (h Host) path(p string) string { return filepath.Join(orElse(h.Root, "/"), p) }

// read returns at most the first MiB of a regular file, or of one of proc.
func (h Host) read(p string) ([]byte, error) {
	// O_NONBLOCK: a pipe in its place must not hold the check up.
	f, err := os.OpenFile(h.path(p), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", p, ErrNoFile)
	case err != nil:
		return nil, fmt.Errorf("%s: %s", p, plain(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is no regular file", p)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxHostFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", p, plain(err))
	}
	return data, nil
}

// glob lists files by a pattern, sorted, at most a few hundred.
func (h Host) glob(pattern string) []string {
	const most = 500
	found, _ := filepath.Glob(h.path(pattern)) // only of a bad pattern
	slices.Sort(found)
	for i, f := range found {
		rel, err := filepath.Rel(orElse(h.Root, "/"), f)
		if err != nil {
			rel = f
		}
		found[i] = "/" + rel
	}
	return found[:min(len(found), most)]
}

// lines of a text without comments and white space around them.
func lines(text []byte, comments string) []string {
	var out []string
	for line := range strings.SplitSeq(string(text), "\n") {
		if i := strings.IndexAny(line, comments); i >= 0 {
			line = line[:i]
		}
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
