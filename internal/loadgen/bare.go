package loadgen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"time"
)

// Announcement is the line of JSON that [ServeBare] prints when it answers.
type Announcement struct {
	URL string `json:"url"`
	CA  string `json:"ca"` // PEM
}

// bareAnswer is what the bare server answers: as many bytes as an answer of
// KMS has.
const bareAnswer = 300

// ServeBare serves the least that a server over TLS can do with net/http: it
// reads the body of a request and answers 300 fixed bytes. It listens on a
// port of 127.0.0.1 that it chooses, prints an [Announcement] to out, and ends
// when ctx does or in reaches its end, so that it does not outlive its parent.
func ServeBare(ctx context.Context, in io.Reader, out io.Writer) error {
	certificate, authority, err := selfSigned()
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answer := payload(bareAnswer)
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{certificate},
			NextProtos:   []string{"http/1.1"},
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return // the client is gone
			}
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_, _ = w.Write(answer) // likewise
		}),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if in != nil {
		go func() {
			_, _ = io.Copy(io.Discard, in) // its end is all that counts
			cancel()
		}()
	}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := json.NewEncoder(out).Encode(Announcement{URL: "https://" + ln.Addr().String(), CA: authority}); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := srv.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// selfSigned makes a certificate for 127.0.0.1 that lasts a day.
func selfSigned() (certificate tls.Certificate, authority string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "keyreeve bench"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority, nil
}
