package authority

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dchest/siphash"
	"github.com/miekg/dns"
)

// Cookies is how DNS cookies (RFC 7873, RFC 9018) are made and what they are
// good for: a sender with a valid one is not limited. They are always answered.
type Cookies struct {
	// Secrets: the first signs, all verify, so that servers behind one address
	// can share them and change them in turn. At most 4; without any, one is
	// drawn at the start.
	Secrets []CookieSecret `yaml:"-"`
	Demand  CookieDemand   `yaml:"demand"` // never
}

// CookieDemand says when a sender of a cookie that is none of ours must come
// again with ours (BADCOOKIE).
type CookieDemand string

// What a CookieDemand can be; "" is DemandNever. DemandLimited does so in
// place of TC, when the rate of answers to it is used up.
const (
	DemandNever   CookieDemand = "never"
	DemandLimited CookieDemand = "limited"
)

const maxSecrets = 4

// CookieSecret is a key by which server cookies are made (RFC 9018 section 4.4).
type CookieSecret [16]byte

const (
	clientCookieLen = 8
	serverCookieLen = 16 // version, 3 reserved, timestamp, hash (RFC 9018 section 4)
	cookieLen       = clientCookieLen + serverCookieLen
	maxCookieLen    = clientCookieLen + 32 // RFC 7873 section 4
	cookieVersion   = 1

	// Seconds, RFC 9018 section 4.3.
	cookieLife    = 3600
	cookieAhead   = 300
	cookieRenewal = 1800
)

// ParseCookieSecrets reads 1 to 4 secrets, one a line, each of 32 hexadecimal
// digits. Errors do not hold what was read.
func ParseCookieSecrets(text string) ([]CookieSecret, error) {
	var out []CookieSecret
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		var k CookieSecret
		if len(line) != hex.EncodedLen(len(k)) {
			return nil, fmt.Errorf("secret %d has %d characters instead of 32 hexadecimal digits", len(out)+1, len(line))
		}
		if _, err := hex.Decode(k[:], []byte(line)); err != nil {
			return nil, fmt.Errorf("secret %d is not made of hexadecimal digits", len(out)+1)
		}
		out = append(out, k)
	}
	if len(out) == 0 || len(out) > maxSecrets {
		return nil, fmt.Errorf("%d secrets; 1 to %d are possible", len(out), maxSecrets)
	}
	return out, nil
}

// standing is what the cookie of a query says of its sender.
type standing int8

const (
	cookieNone      standing = iota
	cookieMalformed          // of an impossible length
	cookieClient
	cookieStale // a server cookie that is not, or no longer, ours
	cookieValid // ours: the sender gets what is sent to its address
	standings
)

func (s standing) String() string {
	return [standings]string{"none", "malformed", "client", "stale", "valid"}[s]
}

// jar checks and makes server cookies.
type jar []CookieSecret // the first signs, all verify

// sum is the hash of what stands in b: client cookie, version, reserved and
// timestamp, with the address of the client behind it.
func (k *CookieSecret) sum(b *[cookieLen]byte, from netip.Addr) uint64 {
	var in [16 + 16]byte
	n := copy(in[:], b[:16])
	if from.Is4() {
		a := from.As4()
		n += copy(in[n:], a[:])
	} else {
		a := from.As16()
		n += copy(in[n:], a[:])
	}
	return siphash.Hash(binary.LittleEndian.Uint64(k[:]), binary.LittleEndian.Uint64(k[8:]), in[:n])
}

// judge reads the cookie of a query and puts the one to answer with into out:
// a good one as it came, or a new one.
func (j jar) judge(in []byte, from netip.Addr, now uint32, out *[cookieLen]byte) standing {
	if len(in) != clientCookieLen && (len(in) < clientCookieLen+8 || len(in) > maxCookieLen) {
		return cookieMalformed
	}
	from = from.Unmap().WithZone("")
	what := cookieClient
	if len(in) > clientCookieLen {
		what = cookieStale
	}
	if len(in) == cookieLen && in[clientCookieLen] == cookieVersion {
		copy(out[:], in)
		made := binary.BigEndian.Uint32(in[12:])
		age := int32(now - made) // RFC 1982 arithmetic, as section 4.3 asks
		for i := range j {
			if age > cookieLife || age < -cookieAhead {
				break
			}
			if j[i].sum(out, from) != binary.LittleEndian.Uint64(in[16:]) {
				continue
			}
			if i == 0 && age <= cookieRenewal {
				return cookieValid
			}
			what = cookieValid
			break
		}
	}
	copy(out[:], in[:clientCookieLen])
	binary.BigEndian.PutUint32(out[8:], cookieVersion<<24)
	binary.BigEndian.PutUint32(out[12:], now)
	binary.LittleEndian.PutUint64(out[16:], j[0].sum(out, from))
	return what
}

// cookieOf decodes the first cookie of an OPT record into buf; the others do
// not count (RFC 7873 section 5.2).
func cookieOf(opt *dns.OPT, buf *[maxCookieLen]byte) (cookie []byte, ok bool) {
	for _, o := range opt.Option {
		if c, is := o.(*dns.EDNS0_COOKIE); is {
			if len(c.Cookie) > 2*len(buf) {
				return buf[:0], true // too long is as malformed as none
			}
			n, err := hex.Decode(buf[:], []byte(c.Cookie))
			if err != nil {
				n = 0
			}
			return buf[:n], true
		}
	}
	return nil, false
}
