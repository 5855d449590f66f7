package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// withSecondaries is a world with one secondary of each kind and a resolver.
func withSecondaries(t *testing.T) *World {
	t.Helper()
	w, err := NewWorld(WorldConfig{
		Dir: filepath.Join(t.TempDir(), "lab"), Instances: []string{Orders},
		Secondaries: []string{"knot", "named", "nsd", "pdns"}, Resolver: Resolver,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestTheControllerKnowsItsSecondariesAndTheyKnowIt(t *testing.T) {
	w := withSecondaries(t)
	config, err := os.ReadFile(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	ports := map[uint16]bool{w.DNS.Port(): true, w.Resolver.Port(): true}
	resolver := w.resolver()
	for _, s := range w.Secondaries {
		ports[s.Addr.Port()] = true
		if !strings.Contains(string(config), `- {address: "`+s.Addr.String()+`", key: xfer.} # `+s.Name) {
			t.Errorf("%s is not in\n%s", s.Name, config)
		}
		out := w.secondary(s, "c2VjcmV0", "somebody")
		text := out.files[s.Name+".conf"]
		for _, c := range out.once {
			text += strings.Join(c, " ") + "\n"
		}
		for _, want := range []string{s.Addr.Addr().String(), strings.TrimPrefix(s.Addr.String(), "127.0.0.1:"), strings.TrimPrefix(w.DNS.String(), "127.0.0.1:"), "c2VjcmV0", "xfer", "lab.test"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", s.Name, want, text)
			}
		}
		if strings.Contains(text, "$") || out.program == "" || !strings.HasPrefix(out.dir, w.Dir) {
			t.Errorf("%s: %+v", s.Name, out)
		}
		if !strings.Contains(resolver.files["unbound.conf"], strings.Replace(s.Addr.String(), ":", "@", 1)) {
			t.Errorf("%s is not in\n%s", s.Name, resolver.files["unbound.conf"])
		}
	}
	if len(ports) != 6 {
		t.Errorf("ports %v of six servers", ports)
	}
	if strings.Contains(resolver.files["unbound.conf"], strings.Replace(w.DNS.String(), ":", "@", 1)) {
		t.Error("the resolver asks the controller, which hides")
	}
	if w.Asked() != w.Resolver || noSecondary(w) != "" {
		t.Errorf("the client asks %s; %q", w.Asked(), noSecondary(w))
	}
	if info, err := os.Stat(filepath.Join(w.Dir, transferSecret)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret: %v, %v", info, err)
	}
	if _, err := NewWorld(WorldConfig{Dir: t.TempDir(), Instances: []string{Orders}, Secondaries: []string{"djbdns"}}); err == nil || !strings.Contains(err.Error(), `no secondary "djbdns"`) {
		t.Errorf("%v", err)
	}
}

func TestWithoutSecondariesTheirStoryIsLeftOutAndTheReportSaysSo(t *testing.T) {
	w := newWorld(t, Orders)
	if w.Asked() != w.DNS {
		t.Errorf("the client asks %s", w.Asked())
	}
	told, left := tellable(Stories(HTTP), w)
	if slices.ContainsFunc(told, func(s Story) bool { return s.Name == "controller-dead" }) || len(told) != len(Stories(HTTP))-1 {
		t.Errorf("told %v", told)
	}
	var b strings.Builder
	Report{OK: true, LeftOut: left}.WriteTable(&b)
	if !strings.Contains(b.String(), "\nleft out: story controller-dead: no DNS server is here") {
		t.Errorf("the report is\n%s", b.String())
	}
	if told, left := tellable(Stories(HTTP), withSecondaries(t)); len(told) != len(Stories(HTTP)) || left != nil {
		t.Errorf("with all of them %v is left out", left)
	}
}

func TestASecondaryThatDoesNotAnswerBreaksTheStory(t *testing.T) {
	commits := []Commit{{Target: "a."}, {At: moment(300), Target: "b."}}
	whole := []Answer{seen(10, 11, "a."), seen(150, 151, "a."), seen(310, 311, "b.")}
	for name, c := range map[string]struct {
		answers []Answer
		says    string // empty: nothing is broken
	}{
		"answered throughout": {whole, ""},
		"one question unanswered": {
			append(slices.Clone(whole), Answer{Asked: moment(160), Kind: AnswerMissing}), "nsd: of 4 questions 1 went unanswered",
		},
		"SERVFAIL while the controller was dead": {
			append(slices.Clone(whole), Answer{Asked: moment(160), Received: moment(161), Kind: AnswerServfail}), "1 SERVFAIL",
		},
		"a step back":    {append(slices.Clone(whole), seen(320, 321, "a.")), "again, after b. had been answered"},
		"did not follow": {whole[:2], "nsd went a., not a. → b."},
		"was not asked while the controller was dead": {[]Answer{whole[0], whole[2]}, "was not asked while the controller was dead"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &World{Clusters: []ClusterSite{{Name: "a", Target: "a."}, {Name: "b", Target: "b."}}}
			st := &stage{lab: &Lab{World: w}, from: "a", to: "b"}
			st.judgeSecondary("nsd", c.answers, commits, moment(100), moment(200))
			why := strings.Join(st.why, "; ")
			if c.says == "" && why != "" || !strings.Contains(why, c.says) {
				t.Errorf("broken: %q, want %q", why, c.says)
			}
		})
	}
}

func TestProgramsAreFoundOrNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	got := installed(map[string][]string{
		"whole": {"here", filepath.Join(dir, "he*")}, "half": {"here", "nowhere-at-all"}, "fileless": {filepath.Join(dir, "none*")},
	})
	if !slices.Equal(got, []string{"whole"}) {
		t.Errorf("installed: %v", got)
	}
	if _, err := find("nowhere-at-all"); err == nil || !strings.Contains(err.Error(), "nowhere-at-all is not installed") {
		t.Errorf("%v", err)
	}
	if path, args, err := pinned("", "prog", []string{"x"}); path != "prog" || len(args) != 1 || err != nil {
		t.Errorf("%s %v %v", path, args, err)
	}
}

func TestAServerThatCannotBePreparedSaysWhy(t *testing.T) {
	w := newWorld(t, Orders)
	l := &Lab{World: w, family: NewFamily(time.Second)}
	s := server{
		part: "mute", addr: netip.MustParseAddrPort("127.0.0.1:1"), program: "sh", dir: filepath.Join(w.Dir, "mute"),
		files: map[string]string{"a/b": "text"}, once: [][]string{{"sh", "-c", "cat a/b; echo no >&2; exit 3"}},
	}
	err := l.startServer(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "prepare mute: sh: exit status 3: textno") {
		t.Errorf("%v", err)
	}
	s.program = "nowhere-at-all"
	if err := l.startServer(t.Context(), s); err == nil || !strings.Contains(err.Error(), "is not installed") {
		t.Errorf("%v", err)
	}
}
