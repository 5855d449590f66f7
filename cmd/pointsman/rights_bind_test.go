package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/config"
)

// runVerb runs a verb in this process and returns what it prints.
func runVerb(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, complaints bytes.Buffer
	a := &app{env: func(string) string { return "" }, stdout: &out, stderr: &complaints}
	root := a.rootCommand()
	root.SetArgs(args)
	err = root.ExecuteContext(context.Background())
	return out.String(), complaints.String(), err
}

// TestBINDTakesOurUpdateAndNoOtherByThePrintedRights: the lines of init rights
// go into a real named as they are printed; then it lets exactly the update
// through that pointsman sends.
func TestBINDTakesOurUpdateAndNoOtherByThePrintedRights(t *testing.T) {
	dir := t.TempDir()
	text := strings.NewReplacer("$SERVER", "127.0.0.1:53", "$BIND", "127.0.0.1:53", "$CONTROL", "127.0.0.1:9", "$A", "127.0.0.1:1", "$B", "127.0.0.1:2").Replace(bindConfig)
	writeFiles(t, dir, map[string]string{"pointsman.yaml": text})
	printed, _, err := runVerb(t, "init", "rights", "--provider", "bind", "-c", filepath.Join(dir, "pointsman.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)\nupdate-policy \{\n(.*?)\n\};\n`).FindStringSubmatch(printed)
	if m == nil {
		t.Fatalf("no update-policy in\n%s", printed)
	}
	bind := startNamed(t, "orders-a", m[1])

	const mark = "_pointsman." + bindName
	ours := new(dns.Msg).SetUpdate("example.com.")
	ours.Used([]dns.RR{record(t, bindName+" 0 CNAME "+bindA)})
	ours.RemoveRRset([]dns.RR{record(t, bindName+" 0 CNAME "+bindB), record(t, mark+` 0 TXT "x"`)})
	ours.Insert([]dns.RR{record(t, bindName+" 30 CNAME "+bindB), record(t, mark+` 30 TXT "v=1 term=1 epoch=1 op=x by=ctl-1"`)})
	if got := sendUpdate(t, bind, ours); got != dns.RcodeSuccess {
		t.Fatalf("our update: %s", dns.RcodeToString[got])
	}
	if got := strings.TrimSpace(bind.dig(t, bindName, "CNAME")); got != bindB {
		t.Errorf("the name points at %s", got)
	}

	for _, other := range []string{
		bindName + " 30 A 192.0.2.1", bindName + ` 30 TXT "x"`, mark + " 30 CNAME " + bindA,
		"elsewhere.example.com. 30 CNAME " + bindA, "orders-a.example.com. 30 A 192.0.2.1", "x." + bindName + " 30 CNAME " + bindA,
		`_pointsman.other.example.com. 30 TXT "x"`, "new.example.com. 30 A 192.0.2.1", "example.com. 30 NS ns2.example.com.",
	} {
		for what, change := range map[string]func(*dns.Msg){
			"add":    func(m *dns.Msg) { m.Insert([]dns.RR{record(t, other)}) },
			"remove": func(m *dns.Msg) { m.RemoveRRset([]dns.RR{record(t, other)}) },
		} {
			u := new(dns.Msg).SetUpdate("example.com.")
			change(u)
			if got := sendUpdate(t, bind, u); got != dns.RcodeRefused {
				t.Errorf("%s %s: %s", what, other, dns.RcodeToString[got])
			}
		}
	}
	all := new(dns.Msg).SetUpdate("example.com.")
	all.RemoveName([]dns.RR{record(t, "elsewhere.example.com. 0 A 192.0.2.9")})
	if got := sendUpdate(t, bind, all); got != dns.RcodeRefused {
		t.Errorf("removing a whole name: %s", dns.RcodeToString[got])
	}
}

func record(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// sendUpdate sends an update under the key ctl. over TCP.
func sendUpdate(t *testing.T, bind *named, m *dns.Msg) int {
	t.Helper()
	m.SetTsig("ctl.", dns.HmacSHA256, 300, time.Now().Unix())
	c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second, TsigSecret: map[string]string{"ctl.": ctlSecret}}
	r, _, err := c.Exchange(m, bind.addr)
	if err != nil {
		t.Fatal(err)
	}
	return r.Rcode
}

// TestRightsAreTheLeast: policies parse, name single actions, and none of them
// can delete or create anything.
func TestRightsAreTheLeast(t *testing.T) {
	for _, provider := range rightsProviders {
		t.Run(provider, func(t *testing.T) {
			args := []string{"init", "rights", "--provider", provider, "-o", "json"}
			if provider == config.StarterEmbedded || provider == config.StarterBIND {
				file := filepath.Join(t.TempDir(), "pointsman.yaml")
				if _, _, err := runVerb(t, "init", "--preset", "tablestore-standby", "--topology", "same-name", "--provider", provider, "--output", file); err != nil {
					t.Fatal(err)
				}
				args = append(args, "-c", file)
			}
			out, _, err := runVerb(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			var g grants
			if err := json.Unmarshal([]byte(out), &g); err != nil {
				t.Fatal(err)
			}
			policies := 0
			for _, x := range g.Grants {
				if x.For == "" || x.When == "" {
					t.Errorf("says too little: %+v", x)
				}
				if x.Policy != nil {
					policies++
					leastPolicy(t, x.Policy)
				}
			}
			// The prober of a Tablestore instance, where there is a file.
			want := map[string]int{"alidns": 3, "pvtz": 3, "rpz": 0, "bind": 1, "embedded": 1}[provider]
			if policies != want {
				t.Errorf("%d policies, want %d", policies, want)
			}
			if first := g.Grants[0].For; !strings.Contains(first, "read") {
				t.Errorf("%s comes first, not reading", first)
			}
		})
	}
}

var (
	oneAction   = regexp.MustCompile(`^(alidns|pvtz|ots):(Describe|Get|Put|Update)[A-Za-z]+$`)
	oneResource = regexp.MustCompile(`^acs:(alidns::ACCT:domain/[a-zA-Z.-]+|pvtz::ACCT:zone/ZONEID|ots:(REGION|[a-z][a-z0-9-]*):ACCT:instance/(INSTANCE|[a-z0-9-]+)/table/pointsman_\*)$`)
)

func leastPolicy(t *testing.T, p *ramPolicy) {
	t.Helper()
	if p.Version != "1" || len(p.Statement) != 1 {
		t.Errorf("policy %+v", p)
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" || len(s.Action) == 0 || len(s.Resource) == 0 {
			t.Errorf("statement %+v", s)
		}
		for _, action := range s.Action {
			if !oneAction.MatchString(action) || strings.Contains(action, "Delete") || strings.Contains(action, "Add") {
				t.Errorf("action %s", action)
			}
		}
		for _, r := range s.Resource {
			if !oneResource.MatchString(r) {
				t.Errorf("resource %s", r)
			}
		}
	}
}

// TestRightsAreThoseOfTheVendorsPages, to the byte.
func TestRightsAreThoseOfTheVendorsPages(t *testing.T) {
	has := func(gs []grant, forWhom string, actions ...string) {
		t.Helper()
		i := slices.IndexFunc(gs, func(g grant) bool { return g.For == forWhom })
		if i < 0 || !slices.Equal(gs[i].Policy.Statement[0].Action, actions) {
			t.Errorf("%s: %+v", forWhom, gs)
		}
	}
	ali, err := alidnsRights(nil)
	if err != nil {
		t.Fatal(err)
	}
	private, err := pvtzRights(nil)
	if err != nil {
		t.Fatal(err)
	}
	has(ali, "pointsman-dns-write", "alidns:UpdateDomainRecord", "alidns:UpdateDomainRecordRemark")
	has(private, "pointsman-dns-write", "pvtz:UpdateZoneRecord", "pvtz:UpdateRecordRemark")
	has([]grant{proberRights(nil)}, "pointsman-prober", "ots:GetRow", "ots:PutRow", "ots:UpdateRow", "ots:DescribeTable")
}
