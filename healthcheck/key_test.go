package healthcheck

import (
	"strings"
	"testing"
)

func TestAKeyFileHoldsOneKeyOnEachLine(t *testing.T) {
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 40)
	for text, want := range map[string]struct {
		keys []string
		err  string
	}{
		a + "\n":                       {[]string{a}, ""},
		"\n " + a + " \r\n" + b + "\n": {[]string{a, b}, ""},
		a + "\n" + b + "\n" + a:        {nil, "more than 2 lines"},
		a + "\nshort":                  {nil, "line 2: key has 5 bytes"},
		a + "\n\n" + b:                 {nil, "line 2: key has 0 bytes"},
		"":                             {nil, "key has 0 bytes"},
	} {
		keys, err := ParseKeys([]byte(text))
		var got []string
		for _, k := range keys {
			got = append(got, string([]byte(k)))
		}
		if strings.Join(got, ",") != strings.Join(want.keys, ",") || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "aaaa") {
			t.Errorf("the error holds a key: %v", err)
		}
	}
}
