package authority

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxFudge is how far, in seconds, the time of a signature may be from
	// ours, whatever the signer allows itself (RFC 8945 section 10 has 300).
	maxFudge = 300
	// minMAC is the shortest truncated signature that is looked at at all, in
	// octets (RFC 8945 section 5.2.2.1); only whole ones are accepted.
	minMAC = 10
	// badTrunc is BADTRUNC, which miekg/dns has no name for.
	badTrunc = 22
)

// algorithms are those that are accepted; MD5, SHA-1 and SHA-224 are refused.
var algorithms = map[string]func() hash.Hash{
	dns.HmacSHA256: sha256.New,
	dns.HmacSHA384: sha512.New384,
	dns.HmacSHA512: sha512.New,
}

// proof says what the signature of a message shows. The zero value is that it
// has none, which is never the same as a good one.
type proof int8

const (
	unsigned    proof = iota
	proved            // there is one, it is right, in time, and by the key that it names
	notProved         // there is one and it is not to be trusted: code says why
	badlyFormed       // a signature where none may stand, or of an impossible form
)

// signature is what was found out about the signature of one message.
type signature struct {
	proof proof
	key   *tsigKey  // whose secret made it; nil unless the MAC itself was right
	rr    *dns.TSIG // as it came, nil when unsigned
	code  uint16    // TSIG error for the answer (RFC 8945 section 3)
	why   refusal   // for the counters
}

// tsigKey is one key with the memory of what was signed by it.
type tsigKey struct {
	name, algorithm string
	raw             func() []byte // nil without a secret
	seen            replays       // of transfers
	heard           replays       // of questions over UDP
}

// keyring holds the keys by canonical name.
type keyring map[string]*tsigKey

func newKeyring(keys []Key, before keyring) keyring {
	ring := make(keyring)
	for _, k := range keys {
		t := &tsigKey{name: dns.CanonicalName(string(k.Name)), algorithm: dns.CanonicalName(k.Algorithm), raw: k.Secret.raw}
		if was := before[t.name]; was != nil {
			if was.same(t) {
				t = was
			}
		}
		ring[t.name] = t
	}
	return ring
}

func (k *tsigKey) same(o *tsigKey) bool {
	return k.algorithm == o.algorithm && k.raw != nil && o.raw != nil && hmac.Equal(k.raw(), o.raw())
}

// Generate implements dns.TsigProvider.
func (k *tsigKey) Generate(msg []byte, _ *dns.TSIG) ([]byte, error) {
	newHash := algorithms[k.algorithm]
	if k.raw == nil || newHash == nil {
		return nil, dns.ErrSecret
	}
	h := hmac.New(newHash, k.raw())
	h.Write(msg)
	return h.Sum(nil), nil
}

// Verify implements dns.TsigProvider: in constant time, over as many octets as
// there are, whose number was checked before.
func (k *tsigKey) Verify(msg []byte, t *dns.TSIG) error {
	want, err := k.Generate(msg, t)
	if err != nil {
		return err
	}
	got, err := hex.DecodeString(t.MAC)
	if err != nil || len(got) < minMAC || len(got) > len(want) || !hmac.Equal(want[:len(got)], got) {
		return dns.ErrSig
	}
	return nil
}

// findTSIG returns the signature of a message; ok is false when it has one
// that is not the very last record, or more than one, or one that is not of
// the form that RFC 8945 section 4.2 asks for.
func findTSIG(m *dns.Msg) (t *dns.TSIG, ok bool) {
	n := 0
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				n++
			}
		}
	}
	if n == 0 {
		return nil, true
	}
	t = m.IsTsig()
	return t, n == 1 && t != nil && t.Hdr.Class == dns.ClassANY && t.Hdr.Ttl == 0
}

// verify checks the signature of a message as it came over the wire: that it
// is there, by a key of ours under its canonical name and with its algorithm,
// over exactly these octets, and made within the fudge. What the library says
// of signatures in passing (a nil status for a message without any, a fudge
// that the signer chose, an accepted truncation) is never asked.
// requestMAC is empty for a request; for an answer it is the one of its
// request.
func (ring keyring) verify(wire []byte, m *dns.Msg, requestMAC string, now time.Time) signature {
	t, ok := findTSIG(m)
	switch {
	case !ok:
		return signature{proof: badlyFormed, rr: t, why: refusedSigForm}
	case t == nil:
		return signature{proof: unsigned}
	}
	sig := signature{proof: notProved, rr: t, code: dns.RcodeBadKey, why: refusedBadKey}
	key := ring[dns.CanonicalName(t.Hdr.Name)]
	if key == nil || key.raw == nil || dns.CanonicalName(t.Algorithm) != key.algorithm {
		return sig
	}
	whole := algorithms[key.algorithm]().Size()
	if n := int(t.MACSize); n > whole || n < max(minMAC, whole/2) {
		return signature{proof: badlyFormed, rr: t, why: refusedSigForm}
	}
	sig.code, sig.why = dns.RcodeBadSig, refusedBadSig
	// The library changes the octets that it checks.
	err := dns.TsigVerifyWithProvider(append([]byte(nil), wire...), key, requestMAC, false)
	if err != nil && !errors.Is(err, dns.ErrTime) {
		return sig
	}
	sig.key = key
	if int(t.MACSize) < whole {
		sig.code, sig.why = badTrunc, refusedBadSig
		return sig
	}
	// Time is looked at after the signature (RFC 8945 section 5.2.3), by a
	// fudge that is not the signer's alone to choose.
	apart := now.Unix() - int64(t.TimeSigned)
	if fudge := int64(min(t.Fudge, maxFudge)); apart > fudge || apart < -fudge {
		sig.code, sig.why = dns.RcodeBadTime, refusedBadTime
		return sig
	}
	sig.proof, sig.code = proved, 0
	return sig
}

// sign packs an answer with the signature that its request is owed. prevMAC is
// the one before it: of the request, or of the message before in the same
// answer, and then only the times are signed beside the message (RFC 8945
// section 5.3.1).
func (sig signature) sign(m *dns.Msg, prevMAC string, timersOnly signedVars, now time.Time) (wire []byte, mac string, err error) {
	if sig.proof == unsigned || sig.proof == badlyFormed {
		wire, err = m.Pack()
		return wire, "", err
	}
	t := &dns.TSIG{
		Hdr:       dns.RR_Header{Name: dns.CanonicalName(sig.rr.Hdr.Name), Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: dns.CanonicalName(sig.rr.Algorithm), TimeSigned: uint64(now.Unix()), Fudge: maxFudge,
		OrigId: m.Id, Error: sig.code,
	}
	if sig.code == dns.RcodeBadTime {
		// The client learns our time, signed with its own (section 5.2.3).
		t.TimeSigned = sig.rr.TimeSigned
		var clock [8]byte
		binary.BigEndian.PutUint64(clock[:], uint64(now.Unix()))
		t.OtherLen, t.OtherData = 6, hex.EncodeToString(clock[2:])
	}
	m.Extra = append(m.Extra, t)
	var provider dns.TsigProvider = sig.key
	if sig.key == nil {
		provider = &tsigKey{} // never asked: BADKEY and BADSIG are not signed
	}
	return dns.TsigGenerateWithProvider(m, provider, prevMAC, timersOnly == onlyTimers)
}

// signedVars says what is signed beside a message.
type signedVars int8

const (
	allVars signedVars = iota
	onlyTimers
)

// room is what a signature of this kind takes in an answer, in octets.
func (sig signature) room() int {
	if sig.proof == unsigned || sig.proof == badlyFormed {
		return 0
	}
	return dns.Len(sig.rr) + 64 + 8
}

// replays remembers signatures for as long as they could be sent again.
type replays struct {
	mu    sync.Mutex
	seen  map[macID]int64 // to the time it was signed at, seconds
	floor int64           // what was signed at or before it is refused: it may have been forgotten
}

// macID is the beginning of a MAC, which nobody can choose without the secret.
type macID [16]byte

// maxReplays bounds the memory of one key: 218 transfers a second all the time,
// in some four megabytes.
const maxReplays = 65_536

// again notes a signature and says whether it came before.
func (r *replays) again(t *dns.TSIG, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var id macID
	mac, _ := hex.DecodeString(t.MAC) // as the library made it
	copy(id[:], mac)
	at := int64(t.TimeSigned)
	if _, ok := r.seen[id]; ok || at <= r.floor {
		return true
	}
	if r.seen == nil {
		r.seen = make(map[macID]int64)
	}
	if len(r.seen) >= maxReplays {
		r.forget(now)
	}
	r.seen[id] = at
	return false
}

// forget makes room: first of what is too old to be accepted anyhow, then of
// the older half, which is refused from then on.
func (r *replays) forget(now time.Time) {
	oldest := now.Unix() - maxFudge
	times := make([]int64, 0, len(r.seen))
	for id, at := range r.seen {
		if at < oldest {
			delete(r.seen, id)
		} else {
			times = append(times, at)
		}
	}
	if len(times) < maxReplays {
		return
	}
	slices.Sort(times)
	r.floor = times[len(times)/2]
	for id, at := range r.seen {
		if at <= r.floor {
			delete(r.seen, id)
		}
	}
}
