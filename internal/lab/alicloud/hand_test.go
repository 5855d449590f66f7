package alicloud

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"
)

// Signatures made by hand, for requests that no client would send.

func b64(secret, toSign string) string {
	return base64.StdEncoding.EncodeToString(mac(sha1.New, secret+"&", toSign))
}

// signACS3Headers signs a POST without a query, over the headers that are there.
func signACS3Headers(k Key, host string, h http.Header, body string) {
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	h.Set("x-acs-content-sha256", hash)
	names := []string{"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
	var headers strings.Builder
	for _, n := range names {
		v := h.Get(n)
		if n == "host" {
			v = host
		}
		headers.WriteString(n + ":" + v + "\n")
	}
	signed := strings.Join(names, ";")
	canonical := "POST\n/\n\n" + headers.String() + "\n" + signed + "\n" + hash
	sum = sha256.Sum256([]byte(canonical))
	signature := hex.EncodeToString(mac(sha256.New, k.Secret, signACS3+"\n"+hex.EncodeToString(sum[:])))
	h.Set("Authorization", signACS3+" Credential="+k.ID+",SignedHeaders="+signed+",Signature="+signature)
}

// ask sends a request and returns the status and the code of the error.
func ask(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	a, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e struct{ RequestId, HostId, Code, Message, Recommend string }
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if e.RequestId == "" || e.Code != "" && (e.HostId == "" || e.Message == "" || !strings.Contains(e.Recommend, e.RequestId)) {
		t.Errorf("%s", b)
	}
	return a.StatusCode, e.Code
}

func itoa(id int64) string { return strconv.FormatInt(id, 10) }

func setPattern(zoneID, pattern string) *pvtz.SetProxyPatternRequest {
	q := pvtz.CreateSetProxyPatternRequest()
	q.ZoneId, q.ProxyPattern = zoneID, pattern
	return q
}
