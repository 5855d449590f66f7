package healthcheck

import (
	"strings"
	"testing"
)

const document = `{"status":"ok","n":1.50,"big":12345678901234567890,"yes":true,"none":null,
	"a":{"b c":[{"d":"deep"},"last"]},"it's":1,"":"empty","obj":{}}`

func TestJSONPathsLeadToOneValue(t *testing.T) {
	doc, err := decodeJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"status": "ok", "$.status": "ok", ".status": "ok", `$['status']`: "ok", `["status"]`: "ok",
		"n": "1.50", "big": "12345678901234567890", "yes": "true", "none": "null",
		"a['b c'][0].d": "deep", "$.a['b c'][1]": "last", "a['b c'][-1]": "last", `$['it\'s']`: "1", `$['']`: "empty",
	} {
		p, err := parseJSONPath(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		v, err := p.find(doc)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got, err := scalar(v); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", path, got, err, want)
		}
	}
	for path, says := range map[string]string{
		"missing": "no $['missing'] in the body", "a.x.y": "no $['a']['x'] in the body", "status[0]": "no $['status'][0]",
		"a['b c'][2]": "[2] in the body", "a['b c'][-3]": "[-3] in the body", "obj": "is no single value",
	} {
		p, err := parseJSONPath(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.find(doc)
		if err == nil {
			_, err = scalar(v)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
}

func TestBadJSONPathsAreRefused(t *testing.T) {
	for _, path := range []string{
		"", "$..a", "$.*", "$[*]", "$[1:2]", "$[0,1]", "$[?@.a]", "a.", ".", "$.", "a[", "a[0", "a[x]", "a['b", "a['b'", "a['b'x", `a['\n']`,
		"$a", "a b", "a]", "@.a", "$[99999999999]", strings.Repeat("a.", 200) + "a",
	} {
		if p, err := parseJSONPath(path); err == nil {
			t.Errorf("%q was taken as %s", path, p)
		}
	}
}

func TestOnlyOneJSONValueIsABody(t *testing.T) {
	for _, body := range []string{"", "{", "{} {}", "nonsense", `{"a":1}x`, strings.Repeat("[", 20000)} {
		if v, err := decodeJSON([]byte(body)); err == nil {
			t.Errorf("%.20q was taken as %v", body, v)
		}
	}
}
