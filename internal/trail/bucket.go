package trail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/outbound"
)

// perBucket is how many objects are put into a bucket at once: what hangs holds
// as many trails, those of that bucket.
const perBucket = 4

// bucket is a bucket that can be written to.
type bucket struct {
	config.Bucket
	client   *s3.Client
	now      func() time.Time
	patience time.Duration
	slots    chan struct{} // of capacity perBucket
	rest     rest
}

// object is what is put into a bucket.
type object struct {
	name     string
	body     []byte
	metadata map[string]string
}

func newBucket(b config.Bucket, o *Options) (*bucket, error) {
	u, err := url.Parse(b.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("its endpoint: %w", err)
	}
	b.Region = cmp.Or(b.Region, "us-east-1")
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	hosts := []string{u.Hostname()}
	if b.Style == "host" {
		hosts = append(hosts, b.Name+"."+u.Hostname())
	}
	dialer, err := dialTo(o, b.CA, port, hosts...)
	if err != nil {
		return nil, err
	}
	made := &bucket{Bucket: b, now: o.Now, patience: o.Patience, rest: rest{length: min(o.Patience, o.Rest)}, slots: make(chan struct{}, perBucket)}
	made.client = s3.New(s3.Options{
		Region:       b.Region,
		BaseEndpoint: aws.String(b.Endpoint),
		UsePathStyle: b.Style != "host",
		Credentials:  &credentialsFile{path: b.CredentialsFile},
		HTTPClient: &http.Client{
			// Redirects of S3 lead to other hosts, which nobody has allowed.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: brief{&http.Transport{
				DialContext:            dialer.connect,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: dialer.roots, Time: o.Now},
				TLSHandshakeTimeout:    o.Patience,
				ResponseHeaderTimeout:  o.Patience,
				MaxResponseHeaderBytes: 32 << 10,
				MaxConnsPerHost:        perBucket,
				IdleConnTimeout:        30 * time.Second,
				DisableCompression:     true,
			}},
		},
		HTTPSignerV4: signer{},
		// What is put is signed, with TLS too, where the client would leave it out:
		// TLS may end before the server.
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			signed := new(v4.ComputePayloadSHA256)
			_, err := stack.Finalize.Swap(signed.ID(), signed)
			return err
		}},
		// What fails is tried again by the copying, which counts it.
		Retryer: aws.NopRetryer{},
		// Each object has its checksum in the header. Where the client adds
		// another one it does so in a way that many servers do not know.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		AppID:                      "keyreeve",
	})
	return made, nil
}

// brief ends answers that are too long: what a server says of an object that
// was put is short, and so are its errors.
type brief struct{ *http.Transport }

func (b brief) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.Transport.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxAnswer), res.Body}
	}
	return res, err
}

// signer signs requests. The client's own keeps what it has derived from a
// secret until the day is over, under the access key's id alone: a secret that
// was corrected would not count before.
type signer struct{}

func (signer) SignHTTP(
	ctx context.Context, c aws.Credentials, r *http.Request, payloadHash, service, region string, at time.Time, options ...func(*v4.SignerOptions),
) error {
	fresh := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }) // as S3 has it
	return fresh.SignHTTP(ctx, c, r, payloadHash, service, region, at, options...)
}

// slot waits for others that are copied to the bucket, and returns what lets the
// next one in.
func (b *bucket) slot(ctx context.Context) (func(), error) {
	select {
	case b.slots <- struct{}{}:
		return func() { <-b.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for others that are copied to bucket %s: %w", b.Name, ctx.Err())
	}
}

// put puts an object, in the place of one that has its name. The caller has a
// slot.
func (b *bucket) put(whole context.Context, o object) error {
	if err := b.rest.refuses(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(whole, b.patience)
	defer cancel()
	sum := sha256.Sum256(o.body)
	in := &s3.PutObjectInput{
		Bucket:        aws.String(b.Name),
		Key:           aws.String(o.name),
		Body:          bytes.NewReader(o.body),
		ContentLength: aws.Int64(int64(len(o.body))),
		ContentType:   aws.String("application/gzip"),
		// Some servers want the algorithm named, too, of what is to be locked.
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		ChecksumSHA256:    aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		Metadata:          o.metadata,
	}
	if b.LockMode != "" {
		in.ObjectLockMode = types.ObjectLockModeGovernance
		if b.LockMode == "compliance" {
			in.ObjectLockMode = types.ObjectLockModeCompliance
		}
		in.ObjectLockRetainUntilDate = aws.Time(b.now().UTC().AddDate(0, 0, b.LockDays).Truncate(time.Second))
	}
	_, err := b.client.PutObject(ctx, in)
	b.rest.note(whole, err)
	if err != nil {
		return fmt.Errorf("putting an object into bucket %s: %w", b.Name, err)
	}
	return nil
}

// failureOf returns what CloudTrail would print as the latest error: the code of
// S3's answer, or a name for what kept it from being given.
func failureOf(err error) string {
	var api smithy.APIError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var network net.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api) && api.ErrorCode() != "":
		return api.ErrorCode()
	case errors.Is(err, errCredentials):
		return "CredentialsNotFound"
	case errors.Is(err, outbound.ErrForbidden):
		return "AddressNotAllowed"
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert):
		return "TLSFailed"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "RequestTimeout"
	case errors.Is(err, ErrNoBucket):
		return "NoSuchBucket"
	case errors.Is(err, ErrBucketClosed):
		return "AccessDenied"
	case errors.Is(err, ErrNoLogGroup):
		return "ResourceNotFoundException"
	case errors.As(err, &network):
		return "ConnectionFailed"
	}
	return "InternalError"
}

// dialer connects to one sink.
type dialer struct {
	connect func(ctx context.Context, network, address string) (net.Conn, error)
	roots   *x509.CertPool
}

// dialTo returns what connects to a sink of the operator, and to nothing else.
// The hosts are allowed because the operator has named them, and so is an
// address that stands there by itself; where a name leads is looked at as it is
// for all others.
func dialTo(o *Options, ca, port string, hosts ...string) (*dialer, error) {
	out := o.Outbound
	out.Allow = nil
	out.Now = o.Now
	for _, host := range hosts {
		out.Allow = append(out.Allow, net.JoinHostPort(host, port))
		if a, err := netip.ParseAddr(host); err == nil {
			a = a.Unmap()
			out.Networks = append(out.Networks[:len(out.Networks):len(out.Networks)], netip.PrefixFrom(a, a.BitLen()))
		}
	}
	d := &dialer{connect: outbound.New(out).DialContext, roots: out.Roots}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("reading its certificate authorities: %w", err)
		}
		d.roots = x509.NewCertPool()
		if !d.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", ca)
		}
	}
	return d, nil
}
