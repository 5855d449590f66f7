package tablestore

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// call is one request that the front has let in.
type call struct {
	s      *Server
	op     string
	inst   *instance
	key    Key
	from   source
	body   []byte           // valid until the handler returns
	now    time.Time        // the server's clock, with its offset, when it was about to be done
	clock  func() time.Time // the server's; nil is one that stands at now
	id     string           // x-ots-requestid
	tables []string         // the names that the request gives; they may be anything

	control bool // one of the control API, for faults
}

// renew is the server's clock of now, for who has waited for a lock: a write is
// of the time when its turn came. With that of its request it would be before
// those that came later and were done meanwhile, as if the clock had gone back.
func (c *call) renew() time.Time {
	if c.clock != nil {
		c.now = c.clock()
	}
	return c.now
}

// decode reads the request's message.
func (c *call) decode(m protoadapt.MessageV1) *refusal {
	if err := proto.Unmarshal(c.body, protoadapt.MessageV2Of(m)); err != nil {
		return invalid("Failed to parse the ProtoBuf message.")
	}
	return nil
}

// operations are what the service can do: path /Name. A handler returns the
// reply, nil for an empty body. What it changed is durable when it returns.
var operations = map[string]func(*Server, *call) (protoadapt.MessageV1, *refusal){
	"ListTable":       (*Server).listTable,
	"CreateTable":     (*Server).createTable,
	"DescribeTable":   (*Server).describeTable,
	"ListSearchIndex": (*Server).listSearchIndex,

	"UpdateTable":         (*Server).updateTable,
	"DeleteTable":         (*Server).deleteTable,
	"AddDefinedColumn":    (*Server).addDefinedColumn,
	"DeleteDefinedColumn": (*Server).deleteDefinedColumn,
	"CreateIndex":         (*Server).createIndex,
	"DropIndex":           (*Server).dropIndex,

	"PutRow":        (*Server).putRow,
	"GetRow":        (*Server).getRow,
	"UpdateRow":     (*Server).updateRow,
	"DeleteRow":     (*Server).deleteRow,
	"BatchGetRow":   (*Server).batchGetRow,
	"BatchWriteRow": (*Server).batchWriteRow,
	"GetRange":      (*Server).getRange,

	"ListStream":               (*Server).listStream,
	"DescribeStream":           (*Server).describeStream,
	"GetShardIterator":         (*Server).getShardIterator,
	"GetStreamRecord":          (*Server).getStreamRecord,
	"ComputeSplitPointsBySize": (*Server).computeSplitPointsBySize,

	"StartLocalTransaction": (*Server).startLocalTransaction,
	"CommitTransaction":     (*Server).commitTransaction,
	"AbortTransaction":      (*Server).abortTransaction,

	"CreateGlobalTable":   (*Server).createGlobalTable,
	"BindGlobalTable":     (*Server).bindGlobalTable,
	"UnbindGlobalTable":   (*Server).unbindGlobalTable,
	"DescribeGlobalTable": (*Server).describeGlobalTable,
	"UpdateGlobalTable":   (*Server).updateGlobalTable,
}

// listSearchIndex answers that there is none: set-ups of the vendor's test
// suites ask before they delete tables.
func (s *Server) listSearchIndex(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.ListSearchIndexRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	return &otsprotocol.ListSearchIndexResponse{}, nil
}

// Unsupported are operations of the service that are refused here, as it
// refuses those that it does not know.
var Unsupported = []string{
	"Search", "CreateSearchIndex", "UpdateSearchIndex", "DeleteSearchIndex", "DescribeSearchIndex", "ComputeSplits", "ParallelScan",
	"SQLQuery",
	"CreateDeliveryTask", "DeleteDeliveryTask", "UpdateDeliveryTask", "DescribeDeliveryTask", "ListDeliveryTask",
	"CreateTimeseriesTable", "PutTimeseriesData", "GetTimeseriesData", "QueryTimeseriesMeta", "ListTimeseriesTable",
	"DeleteTimeseriesTable", "DescribeTimeseriesTable", "UpdateTimeseriesTable", "UpdateTimeseriesMeta", "DeleteTimeseriesMeta",
	"CreateTimeseriesAnalyticalStore", "DeleteTimeseriesAnalyticalStore", "DescribeTimeseriesAnalyticalStore",
	"UpdateTimeseriesAnalyticalStore", "CreateTimeseriesLastpointIndex", "DeleteTimeseriesLastpointIndex",
	"LoadTable", "UnloadTable", "BulkImport", "BulkExport",
	"tunnel/create", "tunnel/delete", "tunnel/list", "tunnel/describe", "tunnel/connect", "tunnel/heartbeat", "tunnel/shutdown",
	"tunnel/getcheckpoint", "tunnel/readrecords", "tunnel/checkpoint", "tunnel/getrpo", "tunnel/getrpobyoffset", "tunnel/schedule",
}

// gates are asked in turn when it is known who calls and what for, before
// anything is done.
var gates = []func(*Server, *call) *refusal{
	(*Server).running,
	(*Server).permit,
}

const (
	// maxBody is the largest body that the service takes, in bytes.
	maxBody = 5 << 20
	// maxHeader is the largest head of a request, in bytes.
	maxHeader = 64 << 10
	// pooled is up to which size buffers of bodies are used again, in bytes.
	pooled = 64 << 10
)

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// exchange is one request on its way through the front.
type exchange struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	seen  Request
	by    *signer // signs the answer
	path  string
	fault *Fault // what the request has to bear

	control    bool // it is one of the control API
	remembered bool
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	s.limitBody(w, r)
	x := &exchange{s: s, w: w, r: r, path: r.URL.EscapedPath()}
	x.seen = Request{
		At: begun, RequestID: requestID(begun), Client: r.RemoteAddr, TLS: r.TLS != nil, Method: clip(r.Method),
		Instance: clip(r.Header.Get(headerInstance)), KeyID: clip(r.Header.Get(headerKey)), UserAgent: clip(r.UserAgent()),
	}
	buf := bodies.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		died := recover()
		if died != nil && died != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			x.seen.Panic = fmt.Sprintf("%v\n%s", died, debug.Stack())
		}
		x.remember()
		if buf.Cap() <= pooled {
			bodies.Put(buf)
		}
		if died != nil {
			panic(http.ErrAbortHandler) // the answer was cut off
		}
	}()
	x.deliver(x.answer(buf))
}

// remember puts the request into the history, once: before its answer is sent,
// so that who has the answer finds it there.
func (x *exchange) remember() {
	if !x.remembered {
		x.remembered = true
		x.seen.Duration = time.Since(x.seen.At)
		x.s.seen.add(x.seen)
	}
}

// answer finds the answer to the request. A panic below it is the service's
// error 500, and costs nobody else anything.
func (x *exchange) answer(buf *bytes.Buffer) (m protoadapt.MessageV1, ref *refusal) {
	defer func() {
		died := recover()
		if died == nil {
			return
		}
		if died == http.ErrAbortHandler { // as net/http compares it
			panic(died)
		}
		x.seen.Panic = fmt.Sprintf("%v\n%s", died, debug.Stack())
		m, ref = nil, usual(codeInternal)
	}()
	c, ref := x.admit(buf)
	if ref != nil {
		return nil, ref
	}
	if prevented, ref := x.before(c); prevented {
		return nil, ref
	}
	c.now = x.s.now() // it may have been held up
	for _, gate := range gates {
		if ref := gate(x.s, c); ref != nil {
			return nil, ref
		}
	}
	m, ref = x.s.perform(c)
	if stands := x.fault.after(); stands != nil {
		return nil, stands
	}
	return m, ref
}

// perform does what was asked. Whatever is told of the store is durable then: a
// row that was read, and one that a condition did not like, must not be taken
// back by kill -9.
func (s *Server) perform(c *call) (protoadapt.MessageV1, *refusal) {
	m, ref := operations[c.op](s, c)
	if ref == nil && (rowWrites[c.op] || c.op == "GetShardIterator" || c.op == "GetStreamRecord") {
		return m, nil // they have seen to it
	}
	if err := s.store.settled(); err != nil {
		return nil, refuse(codeInternal, "%v.", err)
	}
	return m, ref
}

// admit checks a request in the order of the service, as far as it is known:
// that an unknown operation is told before all else is seen in answers that
// people have shown.
func (x *exchange) admit(buf *bytes.Buffer) (*call, *refusal) {
	s, r := x.s, x.r
	k := s.access(r.Header.Get(headerKey))
	if k != nil {
		x.by = k.signer // also of what is refused below: clients may check that errors are signed
	}
	op := strings.TrimPrefix(r.URL.Path, "/")
	x.seen.Operation = clip(op)
	if op == "" {
		x.seen.Operation = r.Method
	}
	if _, ok := operations[op]; !ok {
		if prevented, ref := x.before(nil); prevented {
			return nil, ref
		}
		return nil, unsupported(op)
	}
	if r.Method != http.MethodPost {
		return nil, usual(codeMethodNotAllowed)
	}
	if ref := x.readBody(buf); ref != nil {
		return nil, ref
	}
	for _, name := range [...]string{headerDate, headerVersion, headerKey, headerInstance, headerMD5, headerSignature} {
		if r.Header.Get(name) == "" && (name != headerSignature || r.Header.Get(headerSignature4) == "") {
			return nil, invalid("Missing header: '%s'.", name)
		}
	}
	if v := r.Header.Get(headerVersion); v != apiVersion {
		return nil, invalid("Invalid API version: %s.", clip(v))
	}
	text := r.Header.Get(headerDate)
	date, ok := parseDate(text)
	if !ok {
		return nil, invalid("Invalid date format: %s.", clip(text))
	}
	if skew := s.now().Sub(date); skew > maxSkew || skew < -maxSkew {
		return nil, denied("Mismatch between system time and x-ots-date: %s.", clip(text))
	}
	if contentMD5(buf.Bytes()) != r.Header.Get(headerMD5) {
		return nil, denied("Mismatch between MD5 value of request body and x-ots-contentmd5 in header.")
	}
	if k == nil {
		return nil, denied("The AccessKeyID does not exist.")
	}
	by, ref := k.signature(r, s.opts.Region)
	x.by = by
	switch {
	case ref != nil:
		return nil, ref
	case k.Disabled:
		return nil, denied("The AccessKeyID is disabled.")
	case k.Token != r.Header.Get(headerToken): // the text of this and the next is a guess
		return nil, denied("The security token is invalid.")
	case !k.Expires.IsZero() && !s.now().Before(k.Expires):
		return nil, denied("The security token has expired.")
	}
	in := s.instance(r.Header.Get(headerInstance))
	if in == nil {
		return nil, denied("The instance is not found.")
	}
	if !k.mayUse(in.name) {
		return nil, denied("The user has no privilege to access the instance.")
	}
	body, ref := uncompressed(r.Header, buf.Bytes())
	if ref != nil {
		return nil, ref
	}
	x.seen.Tables = tablesOf(op, body)
	return &call{
		s: s, op: op, inst: in, key: k.Key, from: sourceOf(r), body: body, clock: s.now, id: x.seen.RequestID, tables: x.seen.Tables,
	}, nil
}

// running refuses calls of an instance that is stopped.
func (s *Server) running(c *call) *refusal {
	if c.inst.stopped.Load() {
		return denied("The instance is not running.")
	}
	return nil
}

// limitBody bounds how long a client may take for the body of its request, also
// where nobody wants it: the HTTP server reads the rest before it sends an
// answer. It takes the bound back when the body has been read; where there is
// none, it waits for the end of the client from the beginning.
func (s *Server) limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.opts.BodyTimeout))
	}
}

// readBody reads a body, no larger than the service takes it and no slower.
func (x *exchange) readBody(buf *bytes.Buffer) *refusal {
	r := x.r
	if r.ContentLength > maxBody {
		x.w.Header().Set("Connection", "close")
		return usual(codeBodyTooLarge)
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	n, err := buf.ReadFrom(http.MaxBytesReader(x.w, r.Body, maxBody))
	x.seen.In = int(n)
	var large *http.MaxBytesError
	var gone net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return usual(codeBodyTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &gone) && gone.Timeout():
		x.w.Header().Set("Connection", "close")
		return usual(codeRequestTimeout)
	}
	panic(http.ErrAbortHandler) // the client went away, or sends what is no HTTP
}

// uncompressed is the body as it was before the client deflated it, which the
// SDK for Java can be told to do. The answer is never deflated; a client that
// offers to take it so takes it plain as well.
func uncompressed(h http.Header, body []byte) ([]byte, *refusal) {
	kind := h.Get(headerCompress)
	if kind == "" {
		return body, nil
	}
	if !strings.EqualFold(kind, "deflate") {
		return nil, invalid("Unsupported compress type: %s.", clip(kind))
	}
	size, err := strconv.Atoi(h.Get(headerUncompress))
	if err != nil || size < 0 {
		return nil, invalid("Invalid compress size: %s.", clip(h.Get(headerUncompress)))
	}
	if size > maxBody {
		return nil, usual(codeBodyTooLarge)
	}
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, invalid("Failed to uncompress the request body.")
	}
	out, err := io.ReadAll(io.LimitReader(z, int64(size)+1))
	if err != nil || len(out) != size {
		return nil, invalid("Failed to uncompress the request body.")
	}
	return out, nil
}

// requestID looks like the service's: µs since 1970, and something.
func requestID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMicro())) // long before 1970 is out of reach
	binary.BigEndian.PutUint64(b[8:], rand.Uint64())          // it is no secret
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// deliver sends an answer, in the way of the fault.
func (x *exchange) deliver(m protoadapt.MessageV1, ref *refusal) {
	status, body := http.StatusOK, []byte(nil)
	if ref != nil {
		status, body = ref.status, x.errorBody(ref)
		x.seen.Code, x.seen.Message = ref.code, ref.message
		if ref.closes {
			x.w.Header().Set("Connection", "close")
		}
	} else if m != nil {
		var err error
		if body, err = proto.Marshal(protoadapt.MessageV2Of(m)); err != nil {
			// A required field was forgotten: a bug of ours.
			x.seen.Panic = fmt.Sprintf("marshal the answer: %v", err)
			ref = usual(codeInternal)
			status, body = ref.status, x.errorBody(ref)
			x.seen.Code, x.seen.Message = ref.code, ref.message
		}
	}
	x.send(status, body)
}

// plain says whether a request knows nothing of the protocol, as that of a
// probe or of curl. The service answers XML then.
func (x *exchange) plain() bool {
	for name := range x.r.Header {
		if len(name) >= len(headerPrefix) && strings.EqualFold(name[:len(headerPrefix)], headerPrefix) {
			return false
		}
	}
	return true
}

// errorXML is the answer to who does not speak the protocol: code, message,
// request and the address of the server (help/doc-detail/57980).
const errorXML = `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>%s</Code><Message>%s</Message><RequestID>%s</RequestID><HostID>%s</HostID></Error>
`

// forXML escapes a text but for quotes, which the service leaves alone.
func forXML(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes all
	return strings.NewReplacer("&#39;", "'", "&#34;", `"`).Replace(b.String())
}

func (x *exchange) errorBody(ref *refusal) []byte {
	if x.plain() {
		host, _, _ := net.SplitHostPort(x.s.Address())
		x.w.Header().Set("Content-Type", "application/xml")
		return fmt.Appendf(nil, errorXML, ref.code, forXML(ref.message), x.seen.RequestID, base64.StdEncoding.EncodeToString([]byte(host)))
	}
	b, err := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.Error{Code: &ref.code, Message: &ref.message}))
	if err != nil {
		panic(err) // both fields are there
	}
	return b
}
