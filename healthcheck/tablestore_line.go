package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/failover"
)

// maxTableBody bounds an answer. A row of ours has less than 1 KiB.
const maxTableBody = 64 << 10

// tableLine carries the SDK's requests of one probe over one fresh connection
// to the very address that is probed. The SDK knows no context, pools, retries
// and follows redirects; here nothing of that happens: a request ends with the
// probe, and no goroutine is started for it. Not for concurrent use.
type tableLine struct {
	ctx    context.Context
	tr     *Trace
	dial   *dialer
	shake  *shaker
	target Target

	tcp    *net.TCPConn
	conn   net.Conn
	read   *bufio.Reader
	limit  *io.LimitedReader
	unbind func() bool
	until  time.Time // of the share in hand; zero: the whole

	wrong error // what the identity said, if it is against the cluster
}

func (k *canary) line(ctx context.Context, tr *Trace) *tableLine {
	return &tableLine{ctx: ctx, tr: tr, dial: k.dial, shake: k.shake, target: k.target}
}

// connect opens the connection, in the whole time of the probe.
func (l *tableLine) connect() error {
	tcp, err := l.dial.connect(l.ctx, l.tr)
	if err != nil {
		return err
	}
	l.tcp, l.conn, l.unbind = tcp, tcp, bind(l.ctx, tcp)
	if l.shake != nil {
		tc, err := l.shake.shake(l.ctx, tcp, l.tr)
		if err != nil {
			l.hangUp()
			return err
		}
		l.conn = tc
	}
	l.limit = &io.LimitedReader{R: l.conn}
	l.read = bufio.NewReader(l.limit)
	return nil
}

// share gives what follows one n-th of the time that is left.
func (l *tableLine) share(n int) {
	l.until = time.Time{}
	if end, ok := l.ctx.Deadline(); ok && n > 1 {
		l.until = time.Now().Add(time.Until(end) / time.Duration(n))
	}
}

// deadline puts the share's end on the connection, unless the probe has ended
// meanwhile.
func (l *tableLine) deadline() {
	end, ok := l.ctx.Deadline()
	if !l.until.IsZero() {
		end, ok = l.until, true
	}
	if !ok {
		return
	}
	l.conn.SetDeadline(end)
	if l.ctx.Err() != nil {
		l.conn.SetDeadline(time.Unix(1, 0))
	}
}

// hangUp ends the connection.
func (l *tableLine) hangUp() {
	if l.tcp == nil {
		return
	}
	l.unbind()
	drop(l.tcp)
	l.tcp, l.conn = nil, nil
}

var errRedirect = errors.New("a redirect, which is not followed")

// RoundTrip implements http.RoundTripper for the SDK.
func (l *tableLine) RoundTrip(req *http.Request) (*http.Response, error) {
	defer req.Body.Close()
	if l.tcp == nil {
		if err := l.connect(); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	resp, err := l.talk(req)
	l.tr.Answer += time.Since(start)
	if err != nil {
		l.hangUp()
	}
	return resp, err
}

func (l *tableLine) talk(req *http.Request) (*http.Response, error) {
	l.deadline()
	within := limitOf(l.ctx, time.Now())
	if !l.until.IsZero() {
		within = time.Until(l.until)
	}
	if err := req.Write(l.conn); err != nil {
		return nil, fmt.Errorf("write request: %w", plain(err, within))
	}
	l.limit.N = maxHeader
	resp, err := readHeader(l.read, req)
	if err != nil {
		if l.limit.N <= 0 {
			err = fmt.Errorf("headers are larger than %d KiB", maxHeader>>10)
		} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("connection closed before an answer")
		}
		return nil, fmt.Errorf("read answer: %w", plain(err, within))
	}
	l.limit.N = 2 * maxTableBody
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTableBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read body: %w", plain(err, within))
	case len(body) > maxTableBody:
		return nil, fmt.Errorf("the answer is larger than %d KiB", maxTableBody>>10)
	case resp.StatusCode/100 == 3:
		return nil, fmt.Errorf("status %d: %w", resp.StatusCode, errRedirect)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if resp.Close {
		l.hangUp() // the next request opens another
	}
	return resp, nil
}

// client is the SDK over this line. With RetryTimes 0 the first failure is
// final (v1.9.3, getNextPause), and without its own timeout it starts nothing.
func (l *tableLine) client(key AccessKey) *tablestore.TableStoreClient {
	return sdkClient(l.target, key, l)
}

func sdkClient(t Target, key AccessKey, over http.RoundTripper) *tablestore.TableStoreClient {
	return tablestore.NewClientWithConfig(t.endpoint(), t.Place.Instance, key.ID, key.secret, key.token, &tablestore.TableStoreConfig{Transport: over})
}

// call runs one operation of the SDK. Its decoder panics on an answer that
// lacks what it needs: that is the word of whoever answered.
func call(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the answer is none of Tablestore: %s", clean(fmt.Sprint(r), 128))
		}
	}()
	err = do()
	if e, ok := errors.AsType[*tablestore.OtsError](err); ok {
		return asError(newServiceError(e.Code, e.Message, e.HttpStatusCode))
	}
	if u, ok := errors.AsType[interface {
		error
		Unwrap() error
		Timeout() bool
		Temporary() bool
	}](err); ok { // *url.Error, which repeats method and URL
		return u.Unwrap()
	}
	return err
}

// asError marks those answers that are about us.
func asError(e serviceError) error {
	switch {
	case e.means != meansOwn && e.means != meansAbsent:
		return e
	case e.class == failover.FaultNone:
		return Own(e)
	}
	return faulty(e.class, e)
}

// spent adds what the service says that an operation cost.
func (l *tableLine) spent(u *tablestore.ConsumedCapacityUnit) {
	if u != nil {
		l.tr.Units.Read += max(int64(u.Read), 0)
		l.tr.Units.Write += max(int64(u.Write), 0)
	}
}

func (l *tableLine) put(key AccessKey, table string, row *tablestore.PrimaryKey, s stamp) error {
	return call(func() error {
		change := &tablestore.PutRowChange{TableName: table, PrimaryKey: row}
		change.AddColumn(canaryValue, s.String())
		change.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
		resp, err := l.client(key).PutRow(&tablestore.PutRowRequest{PutRowChange: change})
		if err == nil {
			l.spent(resp.ConsumedCapacityUnit)
		}
		return err
	})
}

func (l *tableLine) get(key AccessKey, table string, row *tablestore.PrimaryKey) (value string, found bool, err error) {
	value, found, units, err := get(l.client(key), table, row)
	l.spent(units)
	return value, found, err
}

// get reads the value of a canary row, and what the service says that it cost.
func get(c *tablestore.TableStoreClient, table string, row *tablestore.PrimaryKey) (value string, found bool, units *tablestore.ConsumedCapacityUnit, err error) {
	err = call(func() error {
		resp, err := c.GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{
			TableName: table, PrimaryKey: row, MaxVersion: 1,
		}})
		if err != nil {
			return err
		}
		units = resp.ConsumedCapacityUnit
		for _, col := range resp.Columns {
			if col.ColumnName == canaryValue {
				value, found = fmt.Sprint(col.Value), true
			}
		}
		return nil
	})
	return value, found, units, err
}

func (l *tableLine) exists(key AccessKey, table string, row *tablestore.PrimaryKey) (bool, error) {
	there, units, err := exists(l.client(key), table, row)
	l.spent(units)
	return there, err
}

// exists says whether a table is there. It reads a row, which need not be: that
// is no operation on a table, of which an instance takes ten a second.
func exists(c *tablestore.TableStoreClient, table string, row *tablestore.PrimaryKey) (bool, *tablestore.ConsumedCapacityUnit, error) {
	_, _, units, err := get(c, table, row)
	e, ok := errors.AsType[serviceError](err)
	switch {
	case err == nil, ok && e.code == "OTSInvalidPK": // made by hand, with another key
		return true, units, nil
	case ok && e.means == meansAbsent:
		return false, units, nil
	}
	return false, units, err
}
