package operator

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/sigv4"
)

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 16 << 20

// Remote calls the service keyreeve of a node. Its methods may be called
// concurrently.
type Remote struct {
	client      *http.Client
	endpoint    string
	region      string
	credentials sigv4.Credentials
	now         func() time.Time
}

// NewRemote returns a client of the node that e leads to. It keeps e's secret.
func NewRemote(e Environment, now func() time.Time) (*Remote, error) {
	if now == nil {
		now = time.Now
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if e.Authority != "" {
		pem, err := os.ReadFile(e.Authority)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate to trust: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the certificate to trust: there is none in %s", e.Authority)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &Remote{
		// No redirects: what was signed is for this node alone.
		client:      &http.Client{Transport: transport, Timeout: serveTimeout, CheckRedirect: noRedirect},
		endpoint:    e.Endpoint,
		region:      e.Region,
		credentials: sigv4.Credentials{AccessKeyID: e.AccessKeyID, Key: sigv4.NewKey(e.SecretAccessKey), Token: e.SessionToken},
		now:         now,
	}, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// RemoteError is a node's answer that a call failed.
type RemoteError struct {
	Code    string
	Message string
}

func (e *RemoteError) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// DescribeNode tells what the node is and how it is.
func (r *Remote) DescribeNode(ctx context.Context) (*keyreeveapi.DescribeNodeOutput, error) {
	out := new(keyreeveapi.DescribeNodeOutput)
	return out, r.call(ctx, "DescribeNode", []byte("{}"), out)
}

// RotateDomainKey makes a new domain key.
func (r *Remote) RotateDomainKey(ctx context.Context) (*keyreeveapi.RotateDomainKeyOutput, error) {
	out := new(keyreeveapi.RotateDomainKeyOutput)
	return out, r.call(ctx, "RotateDomainKey", []byte("{}"), out)
}

// RekeyRoot puts another root key in place.
func (r *Remote) RekeyRoot(ctx context.Context, in *keyreeveapi.RekeyRootInput) (*keyreeveapi.RekeyRootOutput, error) {
	out := new(keyreeveapi.RekeyRootOutput)
	body := in.AppendJSON(make([]byte, 0, 64+6*in.Passphrase.Len()))
	defer clear(body)
	return out, r.call(ctx, "RekeyRoot", body, out)
}

// Explain says why a call was denied, or how one would be decided.
func (r *Remote) Explain(ctx context.Context, in *keyreeveapi.ExplainInput) (*keyreeveapi.ExplainOutput, error) {
	out := new(keyreeveapi.ExplainOutput)
	return out, r.call(ctx, "Explain", in.AppendJSON(nil), out)
}

// RevokeSessions refuses temporary credentials of a principal or account.
func (r *Remote) RevokeSessions(ctx context.Context, in *keyreeveapi.RevokeSessionsInput) (*keyreeveapi.RevokeSessionsOutput, error) {
	out := new(keyreeveapi.RevokeSessionsOutput)
	return out, r.call(ctx, "RevokeSessions", in.AppendJSON(nil), out)
}

// SearchEvents finds events of all accounts, the newest first.
func (r *Remote) SearchEvents(ctx context.Context, in *keyreeveapi.SearchEventsInput) (*keyreeveapi.SearchEventsOutput, error) {
	out := new(keyreeveapi.SearchEventsOutput)
	return out, r.call(ctx, "SearchEvents", in.AppendJSON(nil), out)
}

// TailEvents returns events of all accounts as they come, the oldest first.
func (r *Remote) TailEvents(ctx context.Context, in *keyreeveapi.TailEventsInput) (*keyreeveapi.TailEventsOutput, error) {
	out := new(keyreeveapi.TailEventsOutput)
	return out, r.call(ctx, "TailEvents", in.AppendJSON(nil), out)
}

// DescribeAudit returns what the node knows of its audit trail, all pages of it
// together.
func (r *Remote) DescribeAudit(ctx context.Context, in *keyreeveapi.DescribeAuditInput) (*keyreeveapi.DescribeAuditOutput, error) {
	all := new(keyreeveapi.DescribeAuditOutput)
	if err := r.call(ctx, "DescribeAudit", in.AppendJSON(nil), all); err != nil {
		return all, err
	}
	for token := all.NextToken; token != ""; {
		page := new(keyreeveapi.DescribeAuditOutput)
		in := &keyreeveapi.DescribeAuditInput{NextToken: token}
		if err := r.call(ctx, "DescribeAudit", in.AppendJSON(nil), page); err != nil {
			return all, err
		}
		all.Heads, all.Pending = append(all.Heads, page.Heads...), append(all.Pending, page.Pending...)
		token = page.NextToken
	}
	all.NextToken = ""
	return all, nil
}

// call calls an operation. An answer that it failed is a *RemoteError.
func (r *Remote) call(ctx context.Context, operation string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("calling %s: %w", operation, err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", keyreeveapi.TargetPrefix+"."+operation)
	req.Header.Set("User-Agent", "keyreeve")
	r.credentials.Sign(req, body, r.region, keyreeveapi.SigningName, r.now())
	res, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("calling %s: %w", operation, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", operation, err)
	}
	if len(text) > maxAnswer {
		return fmt.Errorf("reading the answer of %s: %w", operation, errors.New("it is too large"))
	}
	if res.StatusCode != http.StatusOK {
		var failure struct {
			Type    string `json:"__type"`
			Message string `json:"message"` // in whatever case
		}
		if err := json.Unmarshal(text, &failure); err != nil || failure.Type == "" {
			return fmt.Errorf("calling %s: HTTP status %s", operation, res.Status)
		}
		return &RemoteError{failure.Type, failure.Message}
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", operation, err)
	}
	return nil
}
