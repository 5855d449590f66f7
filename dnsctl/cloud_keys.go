package dnsctl

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/sts"
)

// errNoKey: there is no key to sign with. People must act.
var errNoKey = errors.New("there is no key")

// accessKey is one key; with a token it ends. The zero value is none.
type accessKey struct {
	parts func() keyParts // a function, as in Secret: of it nothing prints more than the address
	until time.Time       // zero: it does not say
}

type keyParts struct{ id, secret, token string }

func newAccessKey(p keyParts) accessKey { return accessKey{parts: func() keyParts { return p }} }

func (k accessKey) isZero() bool { return k.parts == nil }

func (k accessKey) secrets() []string {
	p := k.parts()
	return []string{p.secret, p.token, p.id}
}

func (k accessKey) provider() credentials.CredentialsProvider { return staticKey{k} }

// keyring has the key of the next request.
type keyring struct {
	c        CloudCredentials
	readFile func(string) ([]byte, error)
	http     http.RoundTripper
	timeout  time.Duration
	now      func() time.Time
	narrow   string // policy of a session that may only look; empty: none

	renewing sync.Mutex // held while a session is asked for

	mu       sync.Mutex
	file     accessKey // as last read well
	fileSeen [32]byte  // SHA-256 of what it was read from
	session  accessKey
	tried    time.Time // when a session was last asked for in vain
}

// sessionMargin is how long before its end a session is not used any more, and
// renewEvery how long a routine request waits before it asks for one again.
const (
	sessionMargin = 30 * time.Second
	renewEvery    = 10 * time.Second
)

// get returns a key. A session is renewed by routine requests from half of its
// life on, so that a request of a failover finds one that lasts, even when
// nothing can be renewed at that time.
func (r *keyring) get(ctx context.Context, l lane) (accessKey, error) {
	if r.c.RoleARN == "" && r.c.ECSRole == "" {
		return r.source(ctx)
	}
	k, good, due := r.held()
	if good && (l != laneRoutine || !due) {
		return k, nil
	}
	if good && !r.renewing.TryLock() {
		return k, nil // somebody is at it
	}
	if !good {
		r.renewing.Lock()
		if k, good, _ = r.held(); good {
			r.renewing.Unlock()
			return k, nil
		}
	}
	defer r.renewing.Unlock()
	next, err := r.renew(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.session, r.tried = next, time.Time{}
		return next, nil
	}
	if good {
		r.tried = r.now()
		return k, nil
	}
	return accessKey{}, err
}

// held is the session in hand, whether it lasts, and whether it is time for another.
func (r *keyring) held() (k accessKey, good, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	left := r.session.until.Sub(now)
	life := r.c.Duration
	if life == 0 {
		life = time.Hour
	}
	return r.session, !r.session.isZero() && left > sessionMargin, left <= life/2 && now.Sub(r.tried) >= renewEvery
}

// doubt forgets a session that the API does not take. A file or a variable is
// read anew at the next request in any case.
func (r *keyring) doubt(k accessKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.session.isZero() && r.session.parts() == k.parts() {
		r.session = accessKey{}
	}
}

func (r *keyring) renew(ctx context.Context) (accessKey, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	switch {
	case r.c.OIDCTokenFile != "":
		return r.assumeByToken(ctx)
	case r.c.RoleARN != "":
		k, err := r.source(ctx)
		if err != nil {
			return accessKey{}, err
		}
		return r.assume(ctx, k)
	default:
		return r.fromMachine(ctx)
	}
}

// source is the key that stands at the beginning.
func (r *keyring) source(ctx context.Context) (accessKey, error) {
	switch {
	case r.c.File != "":
		return r.fromFile()
	case r.c.Env:
		return issued{
			AccessKeyId: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), AccessKeySecret: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
			SecurityToken: os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN"),
		}.key("the environment (ALIBABA_CLOUD_ACCESS_KEY_ID, _SECRET)", false)
	case r.c.ECSRole != "":
		return r.fromMachine(ctx)
	}
	return accessKey{}, fmt.Errorf("%w: the config names none", errNoKey)
}

// issued is the form in which the vendor hands out keys, and that of our file.
type issued struct {
	Code            string
	AccessKeyId     string //nolint:revive // the vendor's spelling
	AccessKeySecret string
	SecurityToken   string
	Expiration      string
}

func (i issued) key(from string, session bool) (accessKey, error) {
	p := keyParts{i.AccessKeyId, i.AccessKeySecret, i.SecurityToken}
	k := newAccessKey(p)
	if i.Expiration != "" {
		t, err := time.Parse(time.RFC3339, i.Expiration)
		if err != nil {
			return accessKey{}, fmt.Errorf("%w: %s: its Expiration is no time as 2006-01-02T15:04:05Z", errNoKey, from)
		}
		k.until = t
	}
	if p.id == "" || p.secret == "" {
		return accessKey{}, fmt.Errorf("%w: %s holds no AccessKeyId and AccessKeySecret", errNoKey, from)
	}
	if strings.ContainsFunc(p.id+p.secret+p.token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return accessKey{}, fmt.Errorf("%w: %s: a key is printable ASCII without spaces", errNoKey, from)
	}
	if session && (p.token == "" || k.until.IsZero()) {
		return accessKey{}, fmt.Errorf("%w: %s gave no SecurityToken with an Expiration", errNoKey, from)
	}
	return k, nil
}

// fromFile reads the file at every use. One that is being replaced may be half
// there: the key that was read last is used on while it lasts.
func (r *keyring) fromFile() (accessKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := r.readFile(r.c.File)
	if err == nil && sha256.Sum256(text) == r.fileSeen && !r.file.isZero() {
		return r.file, nil
	}
	if err == nil {
		var i issued
		if json.Unmarshal(text, &i) != nil {
			err = fmt.Errorf("%w: %s is no JSON with AccessKeyId, AccessKeySecret and, for STS, SecurityToken", errNoKey, r.c.File)
		} else {
			var k accessKey
			if k, err = i.key(r.c.File, false); err == nil {
				r.file, r.fileSeen = k, sha256.Sum256(text)
				return k, nil
			}
		}
	}
	if !r.file.isZero() && (r.file.until.IsZero() || r.now().Before(r.file.until)) {
		return r.file, nil
	}
	if errors.Is(err, errNoKey) {
		return accessKey{}, err
	}
	return accessKey{}, fmt.Errorf("%w: %w", errNoKey, err)
}

// readSecretFile reads a small regular file that nobody else may read.
func readSecretFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s may be read by others (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return readBounded(path, f)
}

func readBounded(path string, f io.Reader) ([]byte, error) {
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, fmt.Errorf("%s is longer than 64 KiB", path)
	}
	return text, nil
}

// session is the name under which the vendor's audit shows what we do.
func (r *keyring) sessionName() string {
	if r.c.RoleSession != "" {
		return r.c.RoleSession
	}
	return "pointsman"
}

func (r *keyring) duration() requests.Integer {
	d := r.c.Duration
	if d == 0 {
		d = time.Hour
	}
	return requests.NewInteger(int(d / time.Second))
}

func (r *keyring) stsEndpoint() endpoint {
	e, err := parseEndpoint(r.c.STSEndpoint)
	if r.c.STSEndpoint == "" || err != nil {
		return endpoint{"https", "sts.aliyuncs.com"}
	}
	return e
}

// assume takes the role on with a key.
func (r *keyring) assume(ctx context.Context, k accessKey) (accessKey, error) {
	at := r.stsEndpoint()
	c := caller{at: at, http: r.http, timeout: r.timeout}
	q := sts.CreateAssumeRoleRequest()
	q.RoleArn, q.RoleSessionName, q.ExternalId, q.Policy, q.DurationSeconds = r.c.RoleARN, r.sessionName(), r.c.ExternalID, r.narrow, r.duration()
	a := sts.CreateAssumeRoleResponse()
	if err := c.once(ctx, k, q, a, []string{"Credentials"}); err != nil {
		return accessKey{}, fmt.Errorf("take on %s: %w", r.c.RoleARN, err)
	}
	got := a.Credentials
	return issued{AccessKeyId: got.AccessKeyId, AccessKeySecret: got.AccessKeySecret, SecurityToken: got.SecurityToken, Expiration: got.Expiration}.key("sts", true)
}

// assumeByToken takes the role on with the token of the file. This request is
// not signed, so the library has no part in it; the token goes in the body.
func (r *keyring) assumeByToken(ctx context.Context) (accessKey, error) {
	f, err := os.Open(r.c.OIDCTokenFile)
	if err != nil {
		return accessKey{}, fmt.Errorf("%w: %w", errNoKey, err)
	}
	defer f.Close()
	text, err := readBounded(r.c.OIDCTokenFile, f)
	if err != nil {
		return accessKey{}, fmt.Errorf("%w: %w", errNoKey, err)
	}
	token := strings.TrimSpace(string(text))
	at := r.stsEndpoint()
	q := url.Values{"Action": {"AssumeRoleWithOIDC"}, "Version": {"2015-04-01"}, "Format": {"JSON"}, "Timestamp": {r.now().UTC().Format(time.RFC3339)}}
	form := url.Values{
		"RoleArn": {r.c.RoleARN}, "OIDCProviderArn": {r.c.OIDCProviderARN}, "OIDCToken": {token},
		"RoleSessionName": {r.sessionName()}, "DurationSeconds": {string(r.duration())},
	}
	if r.narrow != "" {
		form.Set("Policy", r.narrow)
	}
	req, err := http.NewRequest(http.MethodPost, at.scheme+"://"+at.host+"/?"+q.Encode(), strings.NewReader(form.Encode()))
	if err != nil {
		return accessKey{}, fmt.Errorf("%w: sts_endpoint is no host", ErrNotSent)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := &wire{ctx: ctx, base: r.http, at: at, need: []string{"Credentials"}, secrets: func() []string { return []string{token} }}
	resp, err := w.carry(req)
	if err != nil {
		return accessKey{}, fmt.Errorf("take on %s: %w", r.c.RoleARN, err)
	}
	var a struct{ Credentials issued }
	if json.NewDecoder(resp.Body).Decode(&a) != nil {
		return accessKey{}, fmt.Errorf("take on %s: %w", r.c.RoleARN, ErrMalformed)
	}
	return a.Credentials.key("sts", true)
}

// fromMachine asks the metadata service, in its second version only: the
// first answers anybody who can make this process fetch a URL. The service
// speaks plain HTTP on an address that does not leave the machine's host.
func (r *keyring) fromMachine(ctx context.Context) (accessKey, error) {
	base := "http://100.100.100.200"
	if e, err := parseEndpoint(r.c.MetadataEndpoint); r.c.MetadataEndpoint != "" && err == nil {
		base = e.scheme + "://" + e.host
	}
	ask := func(method, path, header, value string) ([]byte, error) {
		req, err := http.NewRequest(method, base+path, http.NoBody)
		if err != nil {
			return nil, err
		}
		req.Header.Set(header, value)
		status, _, body, err := exchange(ctx, r.http, req)
		if err != nil {
			return nil, fmt.Errorf("metadata of the machine: %w", err)
		}
		if status != http.StatusOK {
			return nil, fmt.Errorf("metadata of the machine: %w: HTTP %d: does the machine have the role %s?", errNoKey, status, r.c.ECSRole)
		}
		return body, nil
	}
	token, err := ask(http.MethodPut, "/latest/api/token", "X-aliyun-ecs-metadata-token-ttl-seconds", "60")
	if err != nil {
		return accessKey{}, err
	}
	text := strings.TrimSpace(string(token))
	if text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return accessKey{}, fmt.Errorf("metadata of the machine: %w: its token is none", ErrMalformed)
	}
	body, err := ask(http.MethodGet, "/latest/meta-data/ram/security-credentials/"+url.PathEscape(r.c.ECSRole), "X-aliyun-ecs-metadata-token", text)
	if err != nil {
		return accessKey{}, err
	}
	var i issued
	if json.Unmarshal(body, &i) != nil || i.Code != "" && i.Code != "Success" {
		return accessKey{}, fmt.Errorf("metadata of the machine: %w: it gives no key for the role %s", errNoKey, r.c.ECSRole)
	}
	return i.key("metadata of the machine", true)
}
