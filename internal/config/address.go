package config

import (
	"bytes"
	"strings"
)

// Most verbs only want to know where the controller is, and a file of ten
// thousand instances takes seconds to read. So of such a file nothing is parsed
// but what stands under `controller` (and `version`), by the same strict reader.
//
// Nothing depends on the cut being right. Where it cannot be made with
// certainty, and at any mistake in it, the file is read as a whole, and that
// decides.

// LoadController reads where the controller of a pointsman.yaml is. Mistakes
// under other keys do not matter to it; one under `controller` gives the
// [Faults] of [Load].
func LoadController(path string) (Controller, error) {
	data, loose, err := readConfig(path, openAny)
	if err != nil {
		return Controller{}, err
	}
	if ctl, ok := controllerOf(path, data); ok {
		return ctl, nil
	}
	cfg, err := compileGuarded(path, data, loose, nil)
	if err != nil {
		return Controller{}, err
	}
	return cfg.Controller, nil
}

// addressDoc is the part of fileDoc that says where the controller is.
type addressDoc struct {
	pos
	Version    val[int]      `yaml:"version"`
	Controller controllerDoc `yaml:"controller,required"`
}

// controllerOf reads the controller of a text without the rest, or says that
// it cannot.
func controllerOf(name string, data []byte) (Controller, bool) {
	text, ok := addressLines(data)
	if !ok {
		return Controller{}, false
	}
	c, doc := newCompiler(name, text, nil), &addressDoc{}
	if !c.decode(text, doc, controllerKind) {
		return Controller{}, false
	}
	c.version(doc.Version)
	ctl := c.controller(&doc.Controller)
	return ctl, len(c.faults) == 0
}

// addressLines are the lines of a text that stand under `controller` and
// `version`. False: that cannot be told by looking at lines.
func addressLines(data []byte) ([]byte, bool) {
	if len(data) > maxFile {
		return nil, false
	}
	var out []byte
	seen := map[string]int{}
	wanted, content := false, false
	for line := range bytes.Lines(data) {
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case len(text) == 0, text[0] == ' ', text[0] == '#', bytes.HasPrefix(text, []byte("- ")):
		case !content && string(text) == "---":
			content = true
			continue
		default:
			key, ok := topKey(text)
			if !ok {
				return nil, false
			}
			content = true
			seen[key]++
			wanted = key == "controller" || key == "version"
		}
		if oddQuotes(text) {
			return nil, false // text in quotes may go on for lines, and hold what looks like a key
		}
		if wanted {
			out = append(out, line...)
		}
	}
	return out, seen["controller"] == 1 && seen["version"] <= 1
}

// topKey is the plain key with which a line begins.
func topKey(line []byte) (string, bool) {
	key, rest, ok := strings.Cut(string(line[:min(len(line), maxKeyShown)]), ":")
	if !ok || rest != "" && rest[0] != ' ' || len(key)+1 == maxKeyShown {
		return "", false
	}
	for _, r := range key {
		if (r < 'a' || r > 'z') && r != '_' {
			return "", false
		}
	}
	return key, key != ""
}

// maxKeyShown is more than the longest key at the top has.
const maxKeyShown = 40

// oddQuotes says that a text in quotes may begin in a line and not end there.
// What it takes for a comment within quotes leaves their beginning alone: odd.
// A backslash may hide the end of a text in quotes, so it is a doubt by itself.
func oddQuotes(line []byte) bool {
	if text := bytes.TrimLeft(line, " "); len(text) > 0 && text[0] == '#' {
		return false
	}
	if i := bytes.Index(line, []byte(" #")); i >= 0 {
		line = line[:i]
	}
	if bytes.IndexByte(line, '\\') >= 0 && bytes.IndexByte(line, '"') >= 0 {
		return true
	}
	return bytes.Count(line, []byte{'"'})%2 != 0 || bytes.Count(line, []byte{'\''})%2 != 0
}
