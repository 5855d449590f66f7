package healthcheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/common"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/failover"
)

// Met is what somebody met who came to a Tablestore cluster in the way of its
// clients.
type Met string

const (
	MetItself   Met = "itself"   // its own table is there, and the other cluster's is not
	MetOther    Met = "other"    // the other way round
	MetBoth     Met = "both"     // both tables are there: who it is cannot be told
	MetNeither  Met = "neither"  // none of them, or not the one that was wanted
	MetInstance Met = "instance" // it serves no instance of the name that clients bring
	MetName     Met = "name"     // its certificate is not made out for the clients' name
	MetTrust    Met = "trust"    // its certificate is not trusted, or not valid now
	MetPlain    Met = "plain"    // it speaks plain HTTP where clients come with https
	MetTLS      Met = "tls"      // it speaks TLS where clients come with http
	MetStranger Met = "stranger" // something answers that is no Tablestore
	MetStopped  Met = "stopped"  // the instance is not running
	MetFailing  Met = "failing"  // it says that it fails
	MetBusy     Met = "busy"     // it throttles, or a partition is being moved
	MetDenied   Met = "denied"   // a known key may not
	MetKey      Met = "key"      // the key is not known, or its signature not right
	MetClock    Met = "clock"    // our clock is off
	MetNetwork  Met = "network"  // its network ACL or VPC refuses where we are
	MetSilence  Met = "silence"  // no answer
	MetOurs     Met = "ours"     // a fault of our own
	MetOpen     Met = "open"     // a write would have been done
)

// Meetings are all of them.
var Meetings = []Met{
	MetItself, MetOther, MetBoth, MetNeither, MetInstance, MetName, MetTrust, MetPlain, MetTLS, MetStranger, MetStopped,
	MetFailing, MetBusy, MetDenied, MetKey, MetClock, MetNetwork, MetSilence, MetOurs, MetOpen,
}

// understood says that a request came to what would do it, for some key.
func (m Met) understood() bool {
	switch m {
	case MetItself, MetOther, MetBoth, MetNeither, MetDenied, MetKey, MetBusy:
		return true
	}
	return false
}

// Answered says that the cluster did what a key asked.
func (m Met) Answered() bool {
	return m == MetItself || m == MetOther || m == MetBoth || m == MetNeither
}

// Meeting is that, with the evidence. The zero Meeting was not tried.
type Meeting struct {
	Met Met
	Why string
}

// Bearer is whose key signs.
type Bearer string

const (
	AsService Bearer = "service" // the probes' own
	AsClient  Bearer = "client"  // the one that may do what clients may
)

// TableProof is what a client of a Tablestore cluster would meet.
type TableProof struct {
	Endpoint   string // scheme and name, as a client's SDK is given it
	ServerName string // of TLS; empty for http
	Store      string // instance in the signed header
	KeyID      string
	Own, Other string // tables

	// Identity is which cluster answered a signed question.
	Identity Meeting
	// Gate is what became of a write with the client key that cannot take
	// effect: [MetOpen], or the refusal. Not tried without such a key, nor where
	// Identity is nothing that another key could change.
	Gate Meeting
	// Signed is what became of the question signed by V4 for the region of the
	// other cluster, as clients that come from there sign it: [MetOpen], or the
	// refusal. Not tried where Identity is none of this very cluster, no region
	// was given, or the key is of STS, which the SDK cannot sign by V4 (v1.9.3:
	// the copy of the credentials loses the token).
	Signed Meeting
	// SignedHere: the same, for the cluster's own region; tried when Signed is
	// a refusal.
	SignedHere Meeting

	CertificateEnds time.Time // zero without TLS
	Warnings        []string
	Took            time.Duration
}

// HasClientKey says whether the target's check of that type names one.
func (t Target) HasClientKey() bool {
	one, ok := t.tablestore()
	return ok && one.Check.Tablestore.ClientKey != ""
}

// ErrNoClientKey: the check names no key of clients.
var ErrNoClientKey = errors.New("the check has no client_key_file")

// ProveTables comes to the cluster of a target as a client would that the name
// was moved under: to the address of this very cluster, with the clients' name
// as Host and server name, their scheme, their instance in the signed header.
// It writes nothing and retries nothing. from is the region of the cluster that
// clients would come from; empty where it is the same, or not known.
//
// The error says why nothing was tried: [ErrNoTablestore], [ErrNoClientKey], or
// a mistake of the target.
func ProveTables(ctx context.Context, t Target, c ProbeConfig, as Bearer, from string) (TableProof, error) {
	x, err := OpenTables(ctx, t, c, AccessKey{})
	if err != nil {
		return TableProof{}, err
	}
	defer x.Close()
	line := x.line
	check := line.target.Check.Tablestore
	keys := map[Bearer]*keyHolder{AsService: {path: check.ServiceKey, read: c.ReadKey}}
	if check.ClientKey != "" {
		keys[AsClient] = &keyHolder{path: check.ClientKey, read: c.ReadKey}
	}
	if keys[as] == nil {
		return TableProof{}, ErrNoClientKey
	}
	names, _ := t.OwnTables()
	p := TableProof{Endpoint: line.target.endpoint(), Store: line.target.Place.Instance, Own: names.Own, Other: names.Other}
	if line.shake != nil {
		p.ServerName = line.target.serverName()
	}
	began := time.Now()
	defer func() { p.Took = time.Since(began) }()
	key, err := keys[as].get()
	if err != nil {
		p.Identity = Meeting{MetOurs, fmt.Sprintf("%s key: %v", as, err)}
		return p, nil
	}
	p.KeyID = key.ID
	p.Identity = x.identify(line.client(key), names)
	p.CertificateEnds, p.Warnings = line.tr.CertificateEnds, line.tr.Warnings
	if k := keys[AsClient]; k != nil && p.Identity.Met.understood() {
		p.Gate = x.gate(k)
	}
	if p.Identity.Met == MetItself && from != "" && from != t.Place.Region && key.token == "" {
		p.Signed = x.signed(key, from, names.Own)
		if p.Signed.Met != MetOpen && t.Place.Region != "" {
			p.SignedHere = x.signed(key, t.Place.Region, names.Own)
		}
	}
	return p, nil
}

// provingRow is a row that nobody ever writes.
func provingRow() *tablestore.PrimaryKey {
	row := new(tablestore.PrimaryKey)
	row.AddPrimaryKeyColumn(CanaryPart, CanaryParts[0])
	row.AddPrimaryKeyColumn(CanaryWho, "prove-move, never written")
	return row
}

// identify asks for both tables.
func (x *Tables) identify(c *tablestore.TableStoreClient, names OwnTables) Meeting {
	if names.Own == "" {
		return Meeting{MetNeither, "the check asks for no identity"}
	}
	var there [2]bool
	for i, table := range []string{names.Own, names.Other} {
		has, _, err := exists(c, table, provingRow())
		if err != nil {
			return x.met(fmt.Errorf("%s: %w", table, err))
		}
		there[i] = has
	}
	switch {
	case there[0] && there[1]:
		return Meeting{MetBoth, fmt.Sprintf("it has both tables, %s and %s", names.Own, names.Other)}
	case there[0]:
		return Meeting{MetItself, fmt.Sprintf("it has the table %s and not %s", names.Own, names.Other)}
	case there[1]:
		return Meeting{MetOther, fmt.Sprintf("it has the table %s and not %s", names.Other, names.Own)}
	}
	return Meeting{MetNeither, fmt.Sprintf("it has none of the tables %s and %s", names.Own, names.Other)}
}

// gate writes with the client key, on the condition that a row is there which
// never is: whoever may write is told that the condition does not hold.
func (x *Tables) gate(k *keyHolder) Meeting {
	key, err := k.get()
	if err != nil {
		return Meeting{MetOurs, fmt.Sprintf("client key: %v", err)}
	}
	table := x.line.target.Check.Tablestore.Table
	err = call(func() error {
		change := &tablestore.PutRowChange{TableName: table, PrimaryKey: provingRow()}
		change.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
		_, err := x.line.client(key).PutRow(&tablestore.PutRowRequest{PutRowChange: change})
		return err
	})
	if e, ok := errors.AsType[serviceError](err); err == nil || ok && e.code == "OTSConditionCheckFail" {
		return Meeting{MetOpen, "the client key " + key.ID + " may write"}
	}
	m := x.met(fmt.Errorf("%s: %w", table, err))
	m.Why = "client key " + key.ID + ": " + m.Why
	return m
}

// signed asks with a signature of V4 for a region.
func (x *Tables) signed(key AccessKey, region, table string) Meeting {
	by := common.CreateByCredentials(&common.DefaultCredentials{AccessKeyID: key.ID, AccessKeySecret: key.secret}, region)
	c := tablestore.NewClientWithCredentialsProvider(x.line.target.endpoint(), x.line.target.Place.Instance, by, &tablestore.TableStoreConfig{Transport: x.line})
	if _, _, err := exists(c, table, provingRow()); err != nil {
		return x.met(err)
	}
	return Meeting{MetOpen, "signed by V4 for " + region}
}

// met says what an error means for a client that comes there.
func (x *Tables) met(err error) Meeting {
	m := Meeting{Why: clean(err.Error(), 320)}
	e, answered := errors.AsType[serviceError](err)
	if answered {
		m.Met = e.met()
	} else {
		m.Met = metOnTheWay(err)
	}
	if x.line.shake == nil && (m.Met == MetStranger || m.Met == MetSilence) && x.speaksTLS() {
		m.Met = MetTLS
	}
	return m
}

func (e serviceError) met() Met {
	switch {
	case e.code == sdkNoAnswer:
		return MetStranger
	case e.means == meansThrottled || e.means == meansPartition:
		return MetBusy
	case e.means == meansAbsent:
		return MetNeither
	case e.means == meansMiss && e.status == http.StatusForbidden:
		return MetStopped
	case e.means == meansMiss:
		return MetFailing
	}
	switch e.class {
	case failover.FaultKey:
		return MetKey
	case failover.FaultClock:
		return MetClock
	case failover.FaultPlace:
		return MetNetwork
	case failover.FaultDenied:
		return MetDenied
	case failover.FaultSetup:
		if e.status == http.StatusForbidden {
			return MetInstance
		}
	}
	return MetOurs
}

func metOnTheWay(err error) Met {
	_, name := errors.AsType[x509.HostnameError](err)
	_, untrusted := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case name:
		return MetName
	case untrusted, invalid:
		return MetTrust
	case noTLS:
		return MetPlain
	case isOwn(err):
		return MetOurs
	}
	return MetSilence
}

// speaksTLS tries a handshake at the address. Whose certificate it shows does
// not matter here.
func (x *Tables) speaksTLS() bool {
	l := &tableLine{ctx: x.line.ctx, tr: &Trace{}, dial: x.line.dial, target: x.line.target, shake: newShaker(x.line.target)}
	err := l.connect()
	l.hangUp()
	_, judged := errors.AsType[*tls.CertificateVerificationError](err)
	return err == nil || judged
}
