package sigv4

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

// The algorithms of requests that are signed with a certificate's private key.
const (
	algorithmRSA   = "AWS4-X509-RSA-SHA256"
	algorithmECDSA = "AWS4-X509-ECDSA-SHA256"
)

// Limits of what is looked at before it is known who sends it.
const (
	// MaxChain is how many certificates X-Amz-X509-Chain may have.
	MaxChain = 5

	maxCertificate = 12 << 10 // of each, in Base64
	minRSA, maxRSA = 2048, 8192
)

const (
	headerCertificate = "X-Amz-X509"
	headerChain       = "X-Amz-X509-Chain"

	codeDenied = "AccessDeniedException"
)

// The refusals of certificates and what they signed. Texts are those of IAM
// Roles Anywhere.
var (
	// ErrCertificate is a certificate that is not fit to sign a request,
	// whoever issued it: it cannot be read, or is of a wrong kind.
	ErrCertificate = &Error{codeDenied, "Untrusted certificate. Insufficient certificate"}

	// ErrUntrusted is a certificate that does not lead to an authority that is
	// trusted, or not at this time, or was revoked.
	ErrUntrusted = &Error{codeDenied, "Untrusted signing certificate"}

	// ErrCertificateSignature is a signature that is not of this request, or
	// not by the certificate's key.
	ErrCertificateSignature = &Error{codeDenied, "Invalid signature"}
)

// X509 is what a request says that is signed with the private key of a
// certificate, as those to IAM Roles Anywhere are. The AccessKeyID is the
// certificate's serial number, in decimal. Nothing of it is known to be true
// before [X509.Verify], and who issued the certificate is not after it either.
//
// Source: "The IAM Roles Anywhere authentication signing process" in the IAM
// Roles Anywhere User Guide.
type X509 struct {
	Authorization
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // as sent, up to MaxChain; nil if there is none

	algorithm string
	signed    []byte
}

// ParseX509 is [Parse] for a request that is signed with a certificate's key.
// The keys of all certificates are of a kind and size that is supported: RSA of
// 2,048 to 8,192 bits, and ECDSA on P-256, P-384 and P-521. Errors are those of
// Parse, and [ErrCertificate].
func ParseX509(r *http.Request) (X509, error) {
	a, scheme, signature, err := parse(r, func(scheme string) bool {
		return scheme == algorithmRSA || scheme == algorithmECDSA
	})
	if err != nil {
		return X509{}, err
	}
	x := X509{Authorization: a, algorithm: scheme}
	sent := r.Header[headerCertificate]
	if len(sent) != 1 {
		return X509{}, incomplete("The request requires one '" + headerCertificate + "' header.")
	}
	if x.Certificate, err = certificate(sent[0]); err != nil {
		return X509{}, err
	}
	if chain := r.Header[headerChain]; len(chain) > 0 {
		list := strings.Split(strings.Join(chain, ","), ",")
		if len(list) > MaxChain {
			return X509{}, ErrCertificate
		}
		for _, text := range list {
			c, err := certificate(strings.TrimSpace(text))
			if err != nil {
				return X509{}, err
			}
			x.Chain = append(x.Chain, c)
		}
	}
	if x.AccessKeyID != x.Certificate.SerialNumber.String() {
		return X509{}, invalid("Credential should name the serial number of the certificate.")
	}
	x.signed, err = hex.DecodeString(signature)
	x.malformed = err != nil
	return x, nil
}

// certificate reads a certificate: Base64 of DER.
func certificate(text string) (*x509.Certificate, error) {
	if len(text) > maxCertificate {
		return nil, ErrCertificate
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrCertificate
	}
	c, err := x509.ParseCertificate(der)
	if err != nil || !SupportsKey(c) {
		return nil, ErrCertificate
	}
	return c, nil
}

// SupportsKey reports whether a certificate's key is of a supported kind and
// size.
func SupportsKey(c *x509.Certificate) bool {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSA && k.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521()
	}
	return false
}

// Verify reports whether r with body was signed with the certificate's private
// key; x is what [ParseX509] returned for r. It returns nil or
// [ErrCertificateSignature].
func (x *X509) Verify(r *http.Request, body []byte) error {
	if x.malformed {
		return ErrCertificateSignature
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	s.hashPayload(body)
	if claimed, ok := r.Header[headerContentHash]; ok && (len(claimed) != 1 || claimed[0] != string(s.payload[:])) {
		return ErrCertificateSignature
	}
	s.canonical(r, x.signedHeaders)
	s.stringToSign(x.algorithm, x.stamp, x.Date, x.Region, x.Service)
	sum := sha256.Sum256(s.buf)
	ok := false
	switch k := x.Certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		ok = x.algorithm == algorithmRSA && rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], x.signed) == nil
	case *ecdsa.PublicKey:
		ok = x.algorithm == algorithmECDSA && ecdsa.VerifyASN1(k, sum[:], x.signed)
	}
	if !ok {
		return ErrCertificateSignature
	}
	return nil
}
