package authority

import (
	"bytes"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// TestARecordAloneIsPackedAsTheLibraryPacksIt: octet for octet, with whatever
// end the target has in common with the name.
func TestARecordAloneIsPackedAsTheLibraryPacksIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.StringMatching(`[a-c]{1,3}`)
		name := func(what string) string {
			return strings.Join(rapid.SliceOfN(label, 1, 6).Draw(t, what), ".") + "."
		}
		owner, target := name("owner"), name("target")
		if rapid.Bool().Draw(t, "long") {
			owner = strings.Repeat(longHost, 2) + owner
		}
		k, err := keyOf(owner)
		if err != nil {
			t.Fatal(err)
		}
		for qtype, rr := range map[uint16]dns.RR{
			dns.TypeCNAME: &dns.CNAME{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 7}, Target: target},
			dns.TypeTXT: &dns.TXT{
				Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 7},
				Txt: characterStrings(strings.Repeat("m\\", rapid.IntRange(1, maxMark/2).Draw(t, "length"))),
			},
		} {
			got, err := packAlone(k, rr)
			if err != nil {
				t.Fatal(err)
			}
			want, err := pack(owner, k, qtype, answer{aa: true, answer: []dns.RR{rr}})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.body, want.body) || got.counts != want.counts || got.extraAt != want.extraAt || got.aa != want.aa || got.rcode != want.rcode {
				t.Fatalf("%v\ngot  %x\nwant %x", rr, got.body, want.body)
			}
		}
	})
}
