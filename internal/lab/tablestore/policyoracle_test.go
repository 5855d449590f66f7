package tablestore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"pgregory.net/rapid"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// oracle judges a document as the vendor's pages say it in words, with none of
// the means of what is put to the test: from the JSON itself, by regular
// expressions, one resource at a time.
type oracle struct {
	doc      map[string]any
	text2024 bool
}

func (o oracle) says(action string, who []string, values map[string]string, resource string) string {
	allowed := false
	for _, st := range o.doc["Statement"].([]any) {
		st := st.(map[string]any)
		about := true
		if !o.text2024 {
			if a, ok := st["Action"]; ok {
				about = matchesAny(a, strings.ToLower(action), true)
			} else {
				about = !matchesAny(st["NotAction"], strings.ToLower(action), true)
			}
			about = about && matchesAny(st["Resource"], resource, false)
		}
		if p, ok := st["Principal"]; ok {
			one := false
			for _, name := range who {
				one = one || matchesAny(p, name, false)
			}
			about = about && one
		}
		if !about {
			continue
		}
		var held []bool
		if c, ok := st["Condition"].(map[string]any); ok {
			for op, keys := range c {
				for key, v := range keys.(map[string]any) {
					held = append(held, conditionHolds(op, key, listOf(v), values))
				}
			}
		}
		applies := !slices.Contains(held, false)
		if o.text2024 && st["Effect"] == "Allow" && slices.Contains(held, true) {
			applies = true
		}
		if applies && st["Effect"] == "Deny" {
			return "Deny"
		}
		allowed = allowed || applies
	}
	if allowed {
		return "Allow"
	}
	return ""
}

func listOf(v any) []string {
	if l, ok := v.([]any); ok {
		var out []string
		for _, x := range l {
			out = append(out, fmt.Sprint(x))
		}
		return out
	}
	return []string{fmt.Sprint(v)}
}

func matchesAny(patterns any, s string, fold bool) bool {
	for _, p := range listOf(patterns) {
		if glob(p, s, fold) {
			return true
		}
	}
	return false
}

func glob(p, s string, fold bool) bool {
	if fold {
		p = strings.ToLower(p)
	}
	re := regexp.QuoteMeta(p)
	re = strings.ReplaceAll(strings.ReplaceAll(re, `\*`, `.*`), `\?`, `.`)
	return regexp.MustCompile(`(?s)^(?:` + re + `)$`).MatchString(s)
}

func conditionHolds(op, key string, want []string, values map[string]string) bool {
	key = strings.ToLower(key)
	has, ok := values[key]
	not := strings.Contains(op, "Not")
	if !ok {
		return not
	}
	for _, w := range want {
		if key == "ots:tlsversion" {
			if w == "TLSv1" {
				w = "TLSv1.0"
			}
			w = strings.TrimPrefix(w, "TLSv")
		}
		var same bool
		switch {
		case strings.Contains(op, "IpAddress"):
			a := netip.MustParseAddr(has)
			if strings.Contains(w, "/") {
				same = netip.MustParsePrefix(w).Contains(a)
			} else {
				same = netip.MustParseAddr(w) == a
			}
		case strings.Contains(op, "Like"):
			same = glob(w, has, false)
		case strings.Contains(op, "IgnoreCase"):
			same = strings.EqualFold(w, has)
		default:
			same = w == has
		}
		if same {
			return !not
		}
	}
	return not
}

// some draws one word as a text, or several as a list.
func some(t *rapid.T, label string, from ...string) any {
	if rapid.Bool().Draw(t, label+" alone") {
		return rapid.SampledFrom(from).Draw(t, label)
	}
	var out []any
	for _, v := range rapid.SliceOfN(rapid.SampledFrom(from), 1, 3).Draw(t, label) {
		out = append(out, v)
	}
	return out
}

func drawStatement(t *rapid.T) map[string]any {
	st := map[string]any{"Effect": rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, "effect")}
	element := rapid.SampledFrom([]string{"Action", "Action", "NotAction"}).Draw(t, "element")
	st[element] = some(t, "action", "*", "ots:*", "ots:PutRow", "ots:putrow", "ots:Get*", "OTS:BatchWriteRow", "ots:*Row", "ots:?etRow")
	st["Resource"] = some(t, "resource", "*", "acs:ots:*:*:*", "acs:ots:*:1:instance/lab*", "acs:ots:cn-x:1:instance/lab", "acs:ots:*:*:instance/lab/table/*", "acs:ots:*:*:instance/*/table/orders", "acs:ots:cn-y:*:instance/lab")
	if rapid.Bool().Draw(t, "has principal") {
		st["Principal"] = some(t, "principal", "*", "1", "acs:ram::1:root", "acs:ram::1:user/*", "acs:ram::1:user/ann", "2")
	}
	conditions := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		key := rapid.SampledFrom([]string{"ots:AccessId", "acs:SourceIp", "acs:SourceIP", "acs:SourceVpc", "ots:TLSVersion", "acs:SecureTransport", "ots:IsFromTrustProxy"}).Draw(t, "key")
		var op string
		var value any
		switch strings.ToLower(key) {
		case "acs:sourceip":
			op = rapid.SampledFrom([]string{"IpAddress", "NotIpAddress"}).Draw(t, "op")
			value = some(t, "net", "10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "::1", "127.0.0.1/32")
		case "acs:securetransport", "ots:isfromtrustproxy":
			op = rapid.SampledFrom([]string{"Bool", "StringEquals", "StringNotEquals"}).Draw(t, "op")
			value = rapid.SampledFrom([]any{"true", "false", true, false}).Draw(t, "bool")
		default:
			op = rapid.SampledFrom([]string{
				"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase",
			}).Draw(t, "op")
			value = some(t, "text", "LTAIa", "ltaiA", "LTAI*", "vpc-1", "vpc-*", "1.2", "TLSv1.2", "TLSv1", "1.?", "1.0")
		}
		byKey, _ := conditions[op].(map[string]any)
		if byKey == nil {
			byKey = map[string]any{}
			conditions[op] = byKey
		}
		byKey[key] = value
	}
	if len(conditions) > 0 {
		st["Condition"] = conditions
	}
	return st
}

// TestPolicySays holds the judgement of policies against the oracle.
func TestPolicySays(t *testing.T) {
	seen := map[verdict]int{}
	rapid.Check(t, func(t *rapid.T) {
		var list []any
		for range rapid.IntRange(1, 4).Draw(t, "statements") {
			list = append(list, drawStatement(t))
		}
		doc := map[string]any{"Version": "1", "Statement": list}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePolicy(string(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		action := rapid.SampledFrom([]string{"PutRow", "GetRow", "BatchWriteRow", "GetRange", "ListTable"}).Draw(t, "asks")
		who := rapid.SampledFrom([][]string{{"1", "acs:ram::1:root"}, {"acs:ram::1:user/ann"}, {"acs:ram::1:user/bob"}}).Draw(t, "who")
		ip := netip.MustParseAddr(rapid.SampledFrom([]string{"10.1.2.3", "127.0.0.1", "::1"}).Draw(t, "from"))
		values := map[string]string{"ots:accessid": rapid.SampledFrom([]string{"LTAIa", "LTAIb"}).Draw(t, "id"), "ots:isfromtrustproxy": "false", "acs:securetransport": "false"}
		if v := rapid.SampledFrom([]string{"", "1.2", "1.0"}).Draw(t, "tls"); v != "" {
			values["ots:tlsversion"], values["acs:securetransport"] = v, "true"
		}
		if v := rapid.SampledFrom([]string{"", "vpc-1", "vpc-2"}).Draw(t, "vpc"); v != "" {
			values["acs:sourcevpc"] = v
		}
		resource := rapid.SampledFrom([]string{"acs:ots:cn-x:1:instance/lab", "acs:ots:cn-x:1:instance/lab/table/orders", "acs:ots:cn-y:1:instance/lab/table/other"}).Draw(t, "resource")
		text2024 := rapid.Bool().Draw(t, "text 2024")

		got := p.says(&question{action: "ots:" + strings.ToLower(action), who: who, values: values, from: ip}, resource, text2024)
		seen[got]++
		with := map[string]string{"acs:sourceip": ip.String()}
		for k, v := range values {
			with[k] = v
		}
		want := oracle{doc, text2024}.says("ots:"+action, who, with, resource)
		if name := map[verdict]string{allows: "Allow", denies: "Deny"}[got]; name != want {
			t.Fatalf("%s\n%s of %v from %s with %v at %s, 2024 %v: %q, want %q", text, action, who, ip, values, resource, text2024, name, want)
		}
	})
	for _, v := range []verdict{unsaid, allows, denies} {
		if seen[v] == 0 {
			t.Errorf("no example of verdict %d", v)
		}
	}
}

// TestPolicyLengthsAndVersionsOfTLS: what chance would seldom find.
func TestPolicyLengthsAndVersionsOfTLS(t *testing.T) {
	doc := func(who string) string {
		return `{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Principal":"` + who + `"}]}`
	}
	fill := maxUserPolicy - len(doc(""))
	if _, err := ParsePolicy(doc(strings.Repeat("x", fill))); err != nil {
		t.Error(err)
	}
	if _, err := ParsePolicy(doc(strings.Repeat("x", fill+1))); err == nil || !strings.Contains(err.Error(), "more than 6144") {
		t.Errorf("%v", err)
	}
	for written, version := range map[string]string{"TLSv1": "1.0", "1": "1.0", "1.0": "1.0", "TLSv1.1": "1.1", "1.2": "1.2", "TLSv1.3": "1.3"} {
		p, err := ParsePolicy(`{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"ots:TLSVersion":"` + written + `"}}}]}`)
		if err != nil {
			t.Fatal(err)
		}
		for _, has := range []string{"1.0", "1.1", "1.2", "1.3"} {
			got := p.says(&question{who: []string{"1"}, values: map[string]string{keyTLSVersion: has}}, "", false)
			if (got == denies) != (has == version) {
				t.Errorf("%s of %s: %d", written, has, got)
			}
		}
	}
}

// TestLike holds patterns against regular expressions.
func TestLike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?")), 0, 8, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 10, -1).Draw(t, "text")
		if got, want := like(p, s), glob(p, s, false); got != want {
			t.Fatalf("%q like %q: %v", p, s, got)
		}
	})
}

// TestPolicyVersionsInForce: at every moment a request is judged by the newest
// policy whose time has come, whatever came in between and however the delay was
// turned, and what is kept says so again.
func TestPolicyVersionsInForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st, err := openStore("")
		if err != nil {
			t.Fatal(err)
		}
		defer st.close()
		open := func() *instance {
			in, err := st.openInstance("lab")
			if err == nil {
				err = in.openGuard("r", time.Unix(0, 0))
			}
			if err != nil {
				t.Fatal(err)
			}
			return in
		}
		in := open()
		type update struct {
			from time.Time
			text string
		}
		var all []update
		now := time.Unix(1000, 0)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"wait", "update", "stale", "restart"}).Draw(t, "step") {
			case "wait":
				now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "s")) * time.Second)
			case "update":
				text := fmt.Sprintf(`{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Principal":"%d"}]}`, len(all))
				if rapid.Bool().Draw(t, "delete") {
					text = ""
				}
				from := now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "delay")) * time.Second)
				if err := in.setPolicy(int64(len(all)), text, now, from); err != nil {
					t.Fatal(err)
				}
				all = append(all, update{from, text})
			case "stale":
				version := rapid.Int64Range(0, 30).Filter(func(v int64) bool { return v != int64(len(all)) }).Draw(t, "version")
				if err := in.setPolicy(version, "", now, now); err != errStale {
					t.Fatal(err)
				}
			case "restart":
				in = open()
			}
			if v := in.guard.newest(); v.Version != int64(len(all)) || len(all) > 0 && v.Text != all[len(all)-1].text {
				t.Fatalf("newest %+v of %v", v, all)
			}
			// Also what is still to come, and no more than that is kept.
			for ahead := range 5 {
				at := now.Add(time.Duration(ahead) * time.Second)
				want := ""
				for _, u := range all {
					if !u.from.After(at) {
						want = u.text
					}
				}
				got := ""
				if p := in.guard.inForce(at); p != nil {
					got = p.text
				}
				if got != want {
					t.Fatalf("at +%ds %q, want %q of %v", ahead, got, want, all)
				}
			}
		}
	})
}

// FuzzPolicy: no document costs more than its length, and what is taken says
// the same once it was written down.
func FuzzPolicy(f *testing.F) {
	for _, text := range []string{
		``, `{}`, `[]`, `{"Version":"1","Statement":[]}`,
		`{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`,
		`{"Version":"1","Statement":[{"Effect":"Allow","NotAction":["ots:Get*","ots:List?able"],"Resource":["acs:ots:*:1:instance/lab*"],"Principal":"*","Condition":{"StringNotEquals":{"ots:AccessId":["a","b"]},"IpAddress":{"acs:SourceIp":["10.0.0.0/8","::1"]},"Bool":{"acs:SecureTransport":true}}}]}`,
		`{"Version":"1","Statement":[{"Effect":"Deny","Action":"ots:***************a","Resource":"*","Condition":{"StringLike":{"acs:SourceVpc":"*?*?*?*?*"}}}]}`,
		`{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"ots:TLSVersion":["TLSv1","TLSv1.2","1.3"]}}}]}`,
	} {
		f.Add([]byte(text))
	}
	long := strings.Repeat("a", 300)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(string(text))
		if err != nil {
			if p != nil || err.Error() == "" || len(err.Error()) > 2000 {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if len(text) > maxUserPolicy || len(p.statements) == 0 {
			t.Fatalf("%d bytes, %d statements", len(text), len(p.statements))
		}
		out, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var again Policy
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		for _, q := range []*question{
			{action: "ots:putrow", who: []string{"1"}, values: map[string]string{keyAccessID: long}, from: netip.MustParseAddr("10.0.0.1")},
			{action: "ots:" + long, who: []string{long}, values: map[string]string{keySourceVPC: long, keyTLSVersion: "1.2"}},
		} {
			for _, text2024 := range []bool{false, true} {
				for _, resource := range []string{"acs:ots:r:1:instance/lab", "acs:ots:r:1:instance/lab/table/" + long} {
					if a, b := p.says(q, resource, text2024), again.says(q, resource, text2024); a != b {
						t.Fatalf("%d and %d", a, b)
					}
				}
			}
		}
	})
}

// FuzzSubjects: what an operation reads as its tables is among what policies
// are asked about, however the body is put.
func FuzzSubjects(f *testing.F) {
	put, _ := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.DeleteTableRequest{TableName: proto.String("orders")}))
	f.Add(put)
	f.Add(append(bytes.Clone(put), put...))
	f.Add(protowire.AppendTag(protowire.AppendTag(nil, 9, protowire.StartGroupType), 9, protowire.EndGroupType))
	batch, _ := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.BatchGetRowRequest{Tables: []*otsprotocol.TableInBatchGetRowRequest{{TableName: proto.String("a")}, {TableName: proto.String("b")}}}))
	f.Add(batch)
	create, _ := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.CreateTableRequest{TableMeta: &otsprotocol.TableMeta{TableName: proto.String("a")}, ReservedThroughput: &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{}}}))
	f.Add(create)
	update, _ := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.UpdateGlobalTableRequest{GlobalTableId: proto.String("x"), GlobalTableName: proto.String("a")}))
	f.Add(update)
	in := &instance{name: "lab", tables: map[string]*table{}}
	f.Fuzz(func(t *testing.T, body []byte) {
		check := func(op string, m protoadapt.MessageV1, names func() []string) {
			if proto.Unmarshal(body, protoadapt.MessageV2Of(m)) != nil {
				return // the operation refuses it
			}
			got := subjects(&call{op: op, inst: in, body: body})
			for _, name := range names() {
				if !slices.Contains(got, name) {
					t.Fatalf("%s: %q is not among %q", op, name, got)
				}
			}
		}
		var one otsprotocol.DeleteTableRequest
		check("DeleteTable", &one, func() []string { return []string{one.GetTableName()} })
		var write otsprotocol.PutRowRequest
		check("PutRow", &write, func() []string { return []string{write.GetTableName()} })
		var many otsprotocol.BatchGetRowRequest
		check("BatchGetRow", &many, func() (out []string) {
			for _, b := range many.GetTables() {
				out = append(out, b.GetTableName())
			}
			return out
		})
		var made otsprotocol.CreateTableRequest
		check("CreateTable", &made, func() []string { return []string{made.GetTableMeta().GetTableName()} })
		var global otsprotocol.UpdateGlobalTableRequest
		check("UpdateGlobalTable", &global, func() []string { return []string{global.GetGlobalTableName()} })
		var stream otsprotocol.GetStreamRecordRequest
		check("GetStreamRecord", &stream, func() []string {
			if stream.TableName == nil {
				return nil
			}
			return []string{stream.GetTableName()}
		})
	})
}
