package lab

import (
	"bytes"
	"io"
	"os"
	"slices"
	"sync"
)

// tailLimit is how many lines of a child are kept in memory for messages.
const tailLimit = 12

// lineWriter takes what a child writes: into its file as it is, and line by
// line, with the child's name, to whoever else wants it.
type lineWriter struct {
	file   *os.File
	also   io.Writer // must bear writers at the same time, see Shared
	prefix string

	mu   sync.Mutex
	part []byte
	last []string
}

func (w *lineWriter) Write(p []byte) (int, error) {
	if _, err := w.file.Write(p); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, p...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		if i < 0 && len(w.part) < 64<<10 {
			return len(p), nil
		}
		if i < 0 { // no line is that long; it is cut
			i = len(w.part) - 1
		}
		w.line(string(bytes.TrimRight(w.part[:i+1], "\r\n")))
		w.part = w.part[i+1:]
	}
}

func (w *lineWriter) line(s string) {
	if len(w.last) == tailLimit {
		w.last = slices.Delete(w.last, 0, 1)
	}
	w.last = append(w.last, s)
	if w.also != nil {
		_, _ = io.WriteString(w.also, w.prefix+" | "+s+"\n") // a closed terminal must not end a child
	}
}

// flush takes what has no end of line as a line.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) > 0 {
		w.line(string(w.part))
		w.part = nil
	}
}

func (w *lineWriter) tail() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.last)
}

// Shared makes a writer bear several goroutines; each Write goes through whole.
func Shared(w io.Writer) io.Writer { return &sharedWriter{w: w} }

type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
