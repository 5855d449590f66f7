package healthcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// jsonPath leads to one value: a singular query of RFC 9535 section 2.3.5.1
// ($.a['b c'][0], [-1] counts from the end). The leading "$." may be left out.
type jsonPath []jsonStep

type jsonStep struct {
	name  string
	index int
	array bool
}

const maxJSONPath = 256

var errJSONPathMany = errors.New("leads to more than one value; only names and indexes are allowed")

func parseJSONPath(s string) (jsonPath, error) {
	if s == "" {
		return nil, errors.New("is empty")
	}
	if len(s) > maxJSONPath {
		return nil, fmt.Errorf("is longer than %d bytes", maxJSONPath)
	}
	rest, rooted := strings.CutPrefix(s, "$")
	if !rooted && rest[0] != '[' && rest[0] != '.' {
		rest = "." + rest
	}
	var path jsonPath
	for rest != "" {
		var st jsonStep
		var err error
		switch rest[0] {
		case '.':
			st, rest, err = dotStep(rest[1:])
		case '[':
			st, rest, err = bracketStep(rest[1:])
		default:
			err = fmt.Errorf("%q: a . or [ is missing before %q", s, rest)
		}
		if err != nil {
			return nil, err
		}
		path = append(path, st)
	}
	return path, nil
}

func dotStep(s string) (jsonStep, string, error) {
	end := strings.IndexAny(s, ".[")
	if end < 0 {
		end = len(s)
	}
	name := s[:end]
	switch {
	case name == "*" || strings.HasPrefix(s, "."):
		return jsonStep{}, "", errJSONPathMany
	case name == "" || strings.ContainsAny(name, " \t\r\n'\"]*?@$,:()"):
		return jsonStep{}, "", fmt.Errorf("%q is no plain name; write ['%s']", name, name)
	}
	return jsonStep{name: name}, s[end:], nil
}

func bracketStep(s string) (jsonStep, string, error) {
	if s != "" && (s[0] == '\'' || s[0] == '"') {
		return quotedStep(s)
	}
	text, rest, ok := strings.Cut(s, "]")
	if !ok {
		return jsonStep{}, "", errors.New("a ] is missing")
	}
	if strings.ContainsAny(text, "*:,?") {
		return jsonStep{}, "", errJSONPathMany
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return jsonStep{}, "", fmt.Errorf("[%s] is neither an index nor a quoted name", text)
	}
	return jsonStep{index: int(n), array: true}, rest, nil
}

func quotedStep(s string) (jsonStep, string, error) {
	var name strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`\'"`, s[i+1]) >= 0:
			i++
			name.WriteByte(s[i])
		case s[i] == '\\':
			return jsonStep{}, "", errors.New(`only \\, \' and \" are escapes in a quoted name`)
		case s[i] == s[0]:
			rest, ok := strings.CutPrefix(s[i+1:], "]")
			if !ok {
				return jsonStep{}, "", errors.New("a ] is missing after a quoted name")
			}
			return jsonStep{name: name.String()}, rest, nil
		default:
			name.WriteByte(s[i])
		}
	}
	return jsonStep{}, "", errors.New("a quoted name does not end")
}

// String writes the normal form, which parses to the same path.
func (p jsonPath) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, st := range p {
		if st.array {
			fmt.Fprintf(&b, "[%d]", st.index)
		} else {
			b.WriteString("['" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(st.name) + "']")
		}
	}
	return b.String()
}

// find follows the path.
func (p jsonPath) find(v any) (any, error) {
	for i, st := range p {
		var ok bool
		if st.array {
			list, isList := v.([]any)
			at := st.index
			if at < 0 {
				at += len(list)
			}
			if ok = isList && at >= 0 && at < len(list); ok {
				v = list[at]
			}
		} else if m, isMap := v.(map[string]any); isMap {
			v, ok = m[st.name]
		}
		if !ok {
			return nil, fmt.Errorf("no %s in the body", p[:i+1])
		}
	}
	return v, nil
}

// scalar renders the value as the text that configs compare with.
func scalar(v any) (string, error) {
	switch x := v.(type) {
	case string:
		return x, nil
	case json.Number:
		return x.String(), nil
	case bool:
		return strconv.FormatBool(x), nil
	case nil:
		return "null", nil
	default:
		return "", errors.New("is no single value")
	}
}

func decodeJSON(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("body is no JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("body is no JSON: more after the first value")
	}
	return v, nil
}
