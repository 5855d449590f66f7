package ots

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// raw is one call in the SDK's messages, for operations of which its methods
// say or ask too little. Of a call that went well, seen is told if it is not
// nil.
func (c *Client) raw(ctx context.Context, operation string, ask, answer protoadapt.MessageV1, seen func(*line)) error {
	sent, err := proto.Marshal(protoadapt.MessageV2Of(ask))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return c.call(ctx, func(l *line) error {
		req, err := http.NewRequest(http.MethodPost, c.endpoint+"/"+operation, bytes.NewReader(sent))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRequest, err)
		}
		l.sign(req, "/"+operation, sent)
		resp, err := l.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		got, err := readBody(resp)
		if err != nil {
			return err
		}
		if resp.StatusCode/100 != 2 {
			return rawError(resp, got)
		}
		if err := proto.Unmarshal(got, protoadapt.MessageV2Of(answer)); err != nil {
			return fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		if seen != nil {
			seen(l)
		}
		return nil
	})
}

// sign puts the headers of the protocol on a request: the signature is an
// HMAC-SHA1 over path, method, an empty query and the headers sorted by name.
func (l *line) sign(req *http.Request, path string, sent []byte) {
	digest := md5.Sum(sent)
	mac := hmac.New(sha1.New, []byte(l.key.secret))
	io.WriteString(mac, path+"\nPOST\n\n")
	for _, h := range [...]struct{ name, value string }{ // sorted
		{"x-ots-accesskeyid", l.key.ID},
		{"x-ots-apiversion", tablestore.ApiVersion},
		{"x-ots-contentmd5", base64.StdEncoding.EncodeToString(digest[:])},
		{"x-ots-date", time.Now().UTC().Format("2006-01-02T15:04:05.000Z")},
		{"x-ots-instancename", l.c.cfg.Instance},
		{"x-ots-ststoken", l.key.token},
	} {
		if h.value != "" {
			req.Header.Set(h.name, h.value)
			io.WriteString(mac, h.name+":"+h.value+"\n")
		}
	}
	req.Header.Set("x-ots-signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// readBody reads an answer, in a buffer of its size if that is told.
func readBody(resp *http.Response) ([]byte, error) {
	if n := resp.ContentLength; n > 0 && n <= maxAnswer {
		got := make([]byte, n, n+1)
		read, err := io.ReadFull(resp.Body, got)
		if err != nil {
			return nil, err
		}
		// The end is where the digest is compared.
		more, err := resp.Body.Read(got[read:cap(got)])
		if err == io.EOF && more == 0 {
			return got, nil
		}
		if err == nil {
			err = fmt.Errorf("%w: it is longer than it said", ErrAnswer)
		}
		return nil, err
	}
	return io.ReadAll(resp.Body)
}

func rawError(resp *http.Response, got []byte) error {
	said := new(otsprotocol.Error)
	if err := proto.Unmarshal(got, protoadapt.MessageV2Of(said)); err != nil || said.GetCode() == "" {
		if resp.StatusCode >= http.StatusInternalServerError {
			return &tablestore.OtsError{Code: tablestore.SERVER_UNAVAILABLE, HttpStatusCode: resp.StatusCode}
		}
		return fmt.Errorf("%w: status %d", ErrAnswer, resp.StatusCode)
	}
	return &tablestore.OtsError{
		Code: said.GetCode(), Message: said.GetMessage(), RequestId: resp.Header.Get("x-ots-requestid"), HttpStatusCode: resp.StatusCode,
	}
}

// UpdateTable changes a table. Only what is asked for is sent, so that nobody
// else's change is undone; the SDK would send versions and time to live always.
func (c *Client) UpdateTable(ctx context.Context, name string, ch TableChange) error {
	ask := &otsprotocol.UpdateTableRequest{TableName: &name}
	if ch.TTL != nil || ch.MaxVersions != nil || ch.Deviation != nil || ch.AllowUpdate != nil {
		ask.TableOptions = &otsprotocol.TableOptions{DeviationCellVersionInSec: ch.Deviation, AllowUpdate: ch.AllowUpdate}
		if ch.TTL != nil {
			ask.TableOptions.TimeToLive = proto.Int32(int32(*ch.TTL))
		}
		if ch.MaxVersions != nil {
			ask.TableOptions.MaxVersions = proto.Int32(int32(*ch.MaxVersions))
		}
	}
	if ch.Stream != nil {
		ask.StreamSpec = &otsprotocol.StreamSpecification{EnableStream: ch.Stream}
		if *ch.Stream {
			ask.StreamSpec.ExpirationTime = proto.Int32(hours(ch.Retention))
			ask.StreamSpec.ColumnsToGet = ch.Before
		}
	}
	return c.raw(ctx, "UpdateTable", ask, new(otsprotocol.UpdateTableResponse), nil)
}
