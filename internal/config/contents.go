package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Contents says what a config was made of: its own text and that of the files
// that it names. Two configs with the same Sum decide the same.
type Contents struct {
	Hash  string            // SHA-256 of the file, in hex, as sha256sum prints it
	files map[string]string // hash of each file that was read, by path
}

func contentsOf(data []byte) Contents {
	return Contents{Hash: hashOf(data), files: map[string]string{}}
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Forgetful is a copy of the config that has seen no other file yet: to ask
// whether its secrets can still be read.
func (cfg *Config) Forgetful() *Config {
	c := *cfg
	c.files = map[string]string{}
	return &c
}

// Saw notes what a named file holds. Load does it for certificates, ReadSecret
// for secrets. White space at the ends is no content.
func (c *Contents) Saw(path string, data []byte) { c.files[path] = hashOf(bytes.TrimSpace(data)) }

// ReadSecret is [ReadSecretFile], and notes what was read.
func (c *Contents) ReadSecret(path string) ([]byte, error) {
	data, err := ReadSecretFile(path)
	if err == nil {
		c.Saw(path, data)
	}
	return data, err
}

// Sum is a hash of everything that was seen. It tells nothing of a secret.
func (c *Contents) Sum() string {
	h := sha256.New()
	h.Write([]byte(c.Hash))
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		h.Write([]byte("\n" + path + " " + c.files[path]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Seen lists the files that were read besides the config itself, sorted.
func (c *Contents) Seen() []string { return slices.Sorted(maps.Keys(c.files)) }

// Same says whether the file and all that was seen still hold what they did.
func (c *Contents) Same(file string) bool {
	data, err := readFile(file)
	if err != nil || hashOf(data) != c.Hash {
		return false
	}
	for path, hash := range c.files {
		data, err := readFile(path)
		if err != nil || hashOf(bytes.TrimSpace(data)) != hash {
			return false
		}
	}
	return true
}

// NamedFile is a file that a config names.
type NamedFile struct {
	Key  string // path of the key: vantages.van-2.key_file
	Path string
}

// Files lists the files that the config names, each path once, sorted.
func (cfg *Config) Files() []NamedFile { return namedFiles(filepath.Dir(cfg.File), cfg.doc) }

// Files lists the files that the config names, each path once, sorted.
func (v *VantageFile) Files() []NamedFile { return namedFiles(filepath.Dir(v.File), v.doc) }

// Names lists the files that a text names, whatever else may be wrong with
// it: what must be watched so that the end of a mistake is seen.
func Names(file string) []NamedFile {
	data, err := readFile(file)
	if err != nil {
		return nil
	}
	for _, f := range []struct {
		doc  any
		kind fileKind
	}{{&fileDoc{}, controllerKind}, {&vantageFileDoc{}, vantageKind}} {
		if c := newCompiler(file, data, nil); c.decode(data, f.doc, f.kind) {
			return namedFiles(filepath.Dir(file), f.doc)
		}
	}
	return nil
}

func namedFiles(dir string, doc any) []NamedFile {
	w := fileWalk{shapes: shapes{}, dir: dir, seen: map[string]string{}}
	w.walk(reflect.ValueOf(doc).Elem())
	var out []NamedFile
	for _, p := range slices.Sorted(maps.Keys(w.seen)) {
		out = append(out, NamedFile{Key: w.seen[p], Path: p})
	}
	return out
}

// fileWalk collects the values of all keys that end in _file.
type fileWalk struct {
	shapes shapes
	at     trail
	dir    string
	seen   map[string]string // path to key
}

func (w *fileWalk) walk(v reflect.Value) {
	if isLeaf(v.Type()) {
		return
	}
	if d, ok := v.Addr().Interface().(keyed); ok {
		for i := range d.entries() {
			key, _, item := d.entry(i)
			w.into(key, item)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			w.walk(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if item := v.Index(i); w.shapes.named(item.Type()) {
				w.into(w.shapes.nameOf(item), item)
			} else {
				w.walk(item)
			}
		}
	case reflect.Struct:
		for _, k := range w.shapes.of(v.Type()) {
			f := v.FieldByIndex(k.index)
			if x, ok := f.Addr().Interface().(*val[string]); ok {
				if x.set && isFileKey(k.name) {
					w.note(k.name, resolve(w.dir, x.v))
				}
				continue
			}
			w.into(k.name, f)
		}
	}
}

func (w *fileWalk) into(key string, v reflect.Value) {
	w.at.key(key)
	w.walk(v)
	w.at.back()
}

func (w *fileWalk) note(key, path string) {
	if _, ok := w.seen[path]; !ok {
		w.at.key(key)
		w.seen[path] = w.at.String()
		w.at.back()
	}
}

func isFileKey(key string) bool { return strings.HasSuffix(key, "_file") }

// resolve makes a path start at the folder of the file that names it.
func resolve(dir, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}
