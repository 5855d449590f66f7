package alicloud

import (
	"encoding/json"
	"time"
)

// line is who is answered: a code, its name and the wider line that it is a
// part of.
type line struct{ code, name, father string }

var lines = []line{
	{"default", "Default", ""},
	{"telecom", "China Telecom", ""},
	{"unicom", "China Unicom", ""},
	{"mobile", "China Mobile", ""},
	{"edu", "China Education Network", ""},
	{"drpeng", "Dr. Peng", ""},
	{"btvn", "China Broadcasting Network", ""},
	{"cstnet", "CSTNET", ""},
	{"wexchange", "WExchange", ""},
	{"founder", "Founder Broadband", ""},
	{"topway_video", "Topway Video", ""},
	{"wasu", "Wasu", ""},
	{"ocn", "OCN", ""},
	{"cnix", "CNIX", ""},
	{"bgctv", "BGCTV", ""},
	{"aliyun", "Alibaba Cloud", ""},
	{"search", "Search Engine", ""},
	{"oversea", "Outside Chinese Mainland", ""},
	{"internal", "Chinese Mainland", ""},
}

func init() {
	for _, isp := range []string{"telecom", "unicom", "mobile", "edu"} {
		for _, region := range []string{"beijing", "shanghai", "zhejiang", "guangdong", "sichuan"} {
			lines = append(lines, line{"cn_" + isp + "_" + region, isp + " " + region, isp})
		}
	}
	for _, engine := range []string{"baidu", "google", "bing"} {
		lines = append(lines, line{"search_" + engine, "Search Engine " + engine, "search"})
	}
	for _, where := range []string{"asia", "europe", "n_america", "oceania"} {
		lines = append(lines, line{"os_" + where, where, "oversea"})
	}
}

// Lines are the codes of all lines.
func Lines() []string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		out = append(out, l.code)
	}
	return out
}

func knownLine(code string) bool { return lineOf(code) != nil }

func lineOf(code string) *line {
	for i := range lines {
		if lines[i].code == code {
			return &lines[i]
		}
	}
	return nil
}

// widening is a line and the wider ones after it; default is always the last.
func widening(code string) []string {
	var out []string
	for l := lineOf(code); l != nil && l.code != "default"; l = lineOf(l.father) {
		out = append(out, l.code)
	}
	return append(out, "default")
}

func recordLines() []obj {
	out := make([]obj, 0, len(lines))
	for _, l := range lines {
		o := obj{"LineCode": l.code, "LineName": l.name, "LineDisplayName": l.name}
		if l.father != "" {
			o["FatherCode"] = l.father
		}
		out = append(out, o)
	}
	return out
}

// recordLineTree is the same as a tree of codes, as text.
func recordLineTree() string {
	tree := map[string]map[string]map[string]string{}
	for _, l := range lines {
		at := l.father
		if at == "" {
			at = l.code
		}
		if tree[at] == nil {
			tree[at] = map[string]map[string]string{}
		}
		if l.father != "" {
			tree[at][l.code] = map[string]string{}
		}
	}
	b, _ := json.Marshal(tree)
	return string(b)
}

// stamp is how the vendor writes a time.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04Z") }

// nameServers are the names of the authorities.
func (s *Server) nameServers() []string {
	if len(s.opts.NameServers) > 0 {
		return s.opts.NameServers
	}
	return []string{"dns7.hichina.com", "dns8.hichina.com"}
}
