package node_test

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// session returns temporary credentials of the caller, for an hour.
func (r *running) session(t testing.TB) sigv4.Credentials {
	t.Helper()
	body := url.Values{"Action": {"GetSessionToken"}, "Version": {"2011-06-15"}, "DurationSeconds": {"3600"}}.Encode()
	req, err := http.NewRequest(http.MethodPost, r.Endpoint()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.creds.Sign(req, []byte(body), r.c.Region, "sts", r.now())
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GetSessionToken: %d %s %v", res.StatusCode, text, err)
	}
	var answer struct {
		Result struct {
			Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
		} `xml:"GetSessionTokenResult"`
	}
	// The API says Id where Go says ID.
	if err := xml.Unmarshal([]byte(strings.ReplaceAll(string(text), "AccessKeyId", "AccessKeyID")), &answer); err != nil {
		t.Fatal(err)
	}
	c := answer.Result.Credentials
	return sigv4.Credentials{AccessKeyID: c.AccessKeyID, Key: sigv4.NewKey(secret.New([]byte(c.SecretAccessKey))), Token: c.SessionToken}
}

// A clock that is put back must not make sessions live longer.
func TestClockBehindRefusesSessions(t *testing.T) {
	c, dir := newClocks(), t.TempDir()
	r := run(t, configure(dir, c.use))
	administrator := r.creds
	as := func(creds sigv4.Credentials, why, code string) {
		t.Helper()
		r.creds = creds
		defer func() { r.creds = administrator }()
		if code == "" {
			r.must(t, "ListKeys", nil)
			return
		}
		r.refused(t, "ListKeys", nil, code)
		if t.Failed() {
			t.Fatal(why)
		}
	}
	session := r.session(t)
	as(session, "at once", "")
	c.pass(2 * time.Hour)
	as(session, "after two hours", "ExpiredTokenException")

	c.advance(-90 * time.Minute)
	eventually(t, "the node notices that the clock was put back", func() bool { return r.behind(session) })
	as(session, "with the clock put back", "ExpiredTokenException")
	as(administrator, "with a long-term key", "")
	r.stop(t)
	r = run(t, configure(dir, c.use))
	as(session, "after a restart", "ExpiredTokenException")

	c.advance(90 * time.Minute)
	fresh := r.session(t)
	eventually(t, "a clock put right is believed", func() bool { return !r.behind(fresh) })
	as(fresh, "put right", "")
	as(session, "put right", "ExpiredTokenException")

	c.advance(-90 * time.Minute)
	eventually(t, "the node notices again", func() bool { return r.behind(r.session(t)) })
	if err := r.control().AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	as(r.session(t), "accepted", "")
}

// behind reports whether a session is refused as one that is over.
func (r *running) behind(session sigv4.Credentials) bool {
	administrator := r.creds
	defer func() { r.creds = administrator }()
	r.creds = session
	_, answer, _, err := r.ask("ListKeys", nil)
	return err == nil && answer["__type"] == "ExpiredTokenException"
}
